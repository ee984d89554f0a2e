//! How the figures grow with the number of tenants, as an SVG.

use super::report::Runs;
use super::results::median;
use plotters::prelude::*;
use std::path::Path;

const SIZE: (u32, u32) = (1080, 340);
const OPERATOR: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const BARE: RGBColor = RGBColor(0xff, 0x7f, 0x0e);
const BAR: RGBColor = RGBColor(0xd6, 0x27, 0x28);

/// A line: what it is called, its colour and its points.
struct Line {
    name: &'static str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Draws three charts side by side: time until all are ready, memory, and time until the operator serves.
pub fn draw(all: &[Runs<'_>], file: &Path) {
    let points = |value: fn(&Runs<'_>) -> Option<f64>| -> Vec<_> {
        all.iter().filter_map(|runs| Some((runs.tenants as f64, value(runs)?))).collect()
    };
    let bar = |bar: f64| all.iter().map(|runs| (runs.tenants as f64, bar)).collect();
    let charts = [
        (
            "Seconds until all are ready",
            vec![
                Line { name: "operator", colour: OPERATOR, points: points(|runs| runs.operated_seconds()) },
                Line { name: "bare client", colour: BARE, points: points(|runs| runs.bare_seconds()) },
            ],
        ),
        (
            "Resident memory, MiB",
            vec![
                Line { name: "operator", colour: OPERATOR, points: points(|runs| runs.memory()) },
                Line { name: "bar", colour: BAR, points: bar(100.0) },
            ],
        ),
        (
            "Seconds from start to serving",
            vec![
                Line { name: "operator", colour: OPERATOR, points: points(|runs| median(&runs.found()?.starts.serving)) },
                Line { name: "one list of everything", colour: BARE, points: points(|runs| median(&runs.found()?.starts.lists)) },
            ],
        ),
    ];
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE).expect("an SVG");
    for (area, (title, lines)) in root.split_evenly((1, charts.len())).into_iter().zip(charts) {
        chart(&area, title, &lines).expect("an SVG");
    }
    root.present().expect("the SVG is written");
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn chart<'a>(
    area: &Area<'a>,
    title: &str,
    lines: &[Line],
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    let most = |value: fn(&(f64, f64)) -> f64| lines.iter().flat_map(|line| &line.points).map(value).fold(0.0, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..most(|point| point.0), 0.0..most(|point| point.1).max(f64::MIN_POSITIVE))?;
    chart.configure_mesh().x_desc("tenants").x_labels(6).y_labels(6).light_line_style(TRANSPARENT).draw()?;
    for Line { name, colour, points } in lines {
        let colour = *colour;
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().position(SeriesLabelPosition::LowerRight).background_style(WHITE.mix(0.8)).draw()
}
