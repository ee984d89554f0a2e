//! Quantities in the form in which the API server gives them back, so that what is wanted can be compared with what is.
//!
//! The rules are those of [`resource.Quantity`](https://pkg.go.dev/k8s.io/apimachinery/pkg/api/resource#Quantity): no fraction, and
//! the largest suffix that needs none.

use crate::api::shared::Amount;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const DECIMAL: [(&str, u32); 6] = [("m", 0), ("", 1), ("k", 2), ("M", 3), ("G", 4), ("T", 5)];
const BINARY: [(&str, u32); 5] = [("", 0), ("Ki", 1), ("Mi", 2), ("Gi", 3), ("Ti", 4)];

/// The amount in its canonical form. What the schema would not admit is given back as it is, for the API server to refuse.
pub fn canonical(amount: &Amount) -> Quantity {
    Quantity(parse(&amount.0).map_or_else(|| amount.0.clone(), Exact::canonical))
}

/// The amount in thousandths. None for what the schema would not admit.
pub fn thousandths(amount: &str) -> Option<u128> {
    parse(amount).map(|exact| exact.thousandths)
}

/// The canonical form of so many thousandths, with the suffixes of memory or those of everything else.
pub fn of_thousandths(thousandths: u128, binary: bool) -> Quantity {
    Quantity(Exact { thousandths, binary }.canonical())
}

/// An amount in thousandths, and the family of suffixes that it was written with.
#[derive(Clone, Copy)]
struct Exact {
    thousandths: u128,
    binary: bool,
}

fn parse(text: &str) -> Option<Exact> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 3 || whole.is_empty() {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction:0<3}").parse().ok()?;
    let find = |family: &[(&str, u32)]| family.iter().find(|(s, _)| *s == suffix).map(|(_, power)| *power);
    if !suffix.is_empty()
        && let Some(power) = find(&BINARY)
    {
        return Some(Exact { thousandths: digits.checked_mul(1024u128.pow(power))?, binary: true });
    }
    let power = find(&DECIMAL)?;
    let thousandths = if power == 0 { digits.div_ceil(1000) } else { digits.checked_mul(1000u128.pow(power - 1))? };
    Some(Exact { thousandths, binary: false })
}

impl Exact {
    fn canonical(self) -> String {
        if self.thousandths == 0 {
            return "0".to_owned();
        }
        if self.binary && self.thousandths.is_multiple_of(1000) {
            let units = self.thousandths / 1000;
            // As upstream does: below 1024 the binary form has no suffix to show, and is written as decimal.
            return BINARY
                .iter()
                .rev()
                .find_map(|(suffix, power)| {
                    let unit = 1024u128.pow(*power);
                    (units.is_multiple_of(unit)).then(|| format!("{}{suffix}", units / unit))
                })
                .unwrap_or_else(|| units.to_string());
        }
        DECIMAL
            .iter()
            .rev()
            .find_map(|(suffix, power)| {
                let unit = 1000u128.pow(*power);
                (self.thousandths.is_multiple_of(unit)).then(|| format!("{}{suffix}", self.thousandths / unit))
            })
            .unwrap_or_else(|| format!("{}m", self.thousandths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_take_the_form_that_the_api_server_gives_back() {
        for (written, kept) in [
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("512Mi", "512Mi"),
            ("1000k", "1M"),
            ("20", "20"),
            ("0", "0"),
            ("0Mi", "0"),
            ("1000", "1k"),
            ("500Ki", "500Ki"),
            ("100M", "100M"),
            ("0.5Gi", "512Mi"),
            ("1024", "1024"),
        ] {
            assert_eq!(canonical(&Amount(written.into())).0, kept, "{written}");
        }
    }
}
