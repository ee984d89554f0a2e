//! When a tenant may be moved: its maintenance window, and until when it is held.

use crate::api::Tenant;
use crate::api::tenant::{Day, Window};
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan, Zoned};
use std::sync::OnceLock;

/// Why a tenant's window can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWindow {
    /// There is no such time zone.
    #[error("spec.release.window.timeZone is {0:?}, which is no time zone: write one of the IANA database, such as Europe/Berlin")]
    TimeZone(String),
    /// No time of the day.
    #[error("spec.release.window has {0:?}, which is no time of the day: write it as 22:00")]
    TimeOfDay(String),
}

/// Whether a tenant may begin to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It may, and that since this moment; since ever, where it has neither window nor hold.
    Since(Timestamp),
    /// Its window opens at this moment.
    WindowOpens(Timestamp),
    /// It is held until this moment.
    HeldUntil(Timestamp),
    /// Its window can't be read, so it stays where it is.
    Invalid(InvalidWindow),
}

/// Whether a tenant may begin to move now.
pub fn leave(tenant: &Tenant, now: Timestamp) -> Leave {
    let Some(release) = &tenant.spec.release else { return Leave::Since(Timestamp::MIN) };
    let held_until = release.hold.as_ref().map(|hold| hold.until.0);
    if let Some(until) = held_until.filter(|until| now < *until) {
        return Leave::HeldUntil(until);
    }
    let opened = match &release.window {
        None => Timestamp::MIN,
        Some(window) => match current(window, now) {
            Err(invalid) => return Leave::Invalid(invalid),
            Ok(Err(opens)) => return Leave::WindowOpens(opens),
            Ok(Ok(opened)) => opened,
        },
    };
    Leave::Since(held_until.map_or(opened, |until| until.max(opened)))
}

/// When the window that is open now was opened, or when the next one will be.
fn current(window: &Window, now: Timestamp) -> Result<Result<Timestamp, Timestamp>, InvalidWindow> {
    let zone = zones().get(&window.time_zone).map_err(|_| InvalidWindow::TimeZone(window.time_zone.clone()))?;
    let (from, to) = (time_of_day(&window.from)?, time_of_day(&window.to)?);
    let today = now.to_zoned(zone.clone()).date();
    // One that began yesterday may go on past midnight; within a week every day that is allowed comes.
    let mut days = (-1..=8).filter_map(|offset| today.checked_add(offset.days()).ok());
    let opening = |day: Date| {
        let ends = if to > from { day } else { day.checked_add(1.day()).ok()? };
        Some((moment(day, from, &zone)?, moment(ends, to, &zone)?))
    };
    let next = days.find_map(|day| {
        let allowed = window.days.is_empty() || window.days.iter().any(|allowed| weekday(*allowed) == day.weekday());
        opening(day).filter(|(opens, closes)| allowed && opens < closes && now < *closes)
    });
    // There is always a next one: some day of every week is allowed.
    let Some((opens, _)) = next else { return Ok(Err(Timestamp::MAX)) };
    Ok(if opens <= now { Ok(opens) } else { Err(opens) })
}

/// The time zones that this program brings along: those of the machine may be others than another process has, or none at all.
fn zones() -> &'static TimeZoneDatabase {
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    ZONES.get_or_init(TimeZoneDatabase::bundled)
}

/// A moment of a day. One that a change of the clock leaves out is as much later as the clock is put forward.
fn moment(day: Date, time: Time, zone: &TimeZone) -> Option<Timestamp> {
    day.to_datetime(time).to_zoned(zone.clone()).ok().map(|zoned: Zoned| zoned.timestamp())
}

fn time_of_day(text: &str) -> Result<Time, InvalidWindow> {
    let invalid = || InvalidWindow::TimeOfDay(text.to_owned());
    let (hour, minute) = text.split_once(':').ok_or_else(invalid)?;
    let (hour, minute) = (hour.parse().map_err(|_| invalid())?, minute.parse().map_err(|_| invalid())?);
    Time::new(hour, minute, 0, 0).map_err(|_| invalid())
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Monday => Weekday::Monday,
        Day::Tuesday => Weekday::Tuesday,
        Day::Wednesday => Weekday::Wednesday,
        Day::Thursday => Weekday::Thursday,
        Day::Friday => Weekday::Friday,
        Day::Saturday => Weekday::Saturday,
        Day::Sunday => Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn tenant(release: serde_json::Value) -> Tenant {
        let spec = json!({"displayName": "A", "blueprint": "b", "plan": "p", "release": release});
        Tenant::new("acme", serde_json::from_value(spec).unwrap())
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Sunday and Monday, ten in the evening to four in the morning, in Berlin.
    fn nights() -> Tenant {
        tenant(json!({"window": {"days": ["Sunday", "Monday"], "from": "22:00", "to": "04:00", "timeZone": "Europe/Berlin"}}))
    }

    #[test]
    fn a_window_goes_on_past_midnight_by_the_customers_clock() {
        // 2026-11-29 is a Sunday; Berlin is an hour ahead.
        assert_eq!(leave(&nights(), at("2026-11-29T20:59:59Z")), Leave::WindowOpens(at("2026-11-29T21:00:00Z")));
        assert_eq!(leave(&nights(), at("2026-11-29T21:00:00Z")), Leave::Since(at("2026-11-29T21:00:00Z")));
        assert_eq!(leave(&nights(), at("2026-11-30T02:59:59Z")), Leave::Since(at("2026-11-29T21:00:00Z")));
        assert_eq!(leave(&nights(), at("2026-11-30T03:00:00Z")), Leave::WindowOpens(at("2026-11-30T21:00:00Z")));
        assert_eq!(leave(&nights(), at("2026-12-01T03:00:00Z")), Leave::WindowOpens(at("2026-12-06T21:00:00Z")));
        // In summer it is two hours ahead.
        assert_eq!(leave(&nights(), at("2026-07-05T20:00:00Z")), Leave::Since(at("2026-07-05T20:00:00Z")));
    }

    #[test]
    fn who_is_held_may_move_from_then_on_and_who_has_no_window_at_any_time() {
        let now = at("2026-11-29T12:00:00Z");
        assert_eq!(leave(&tenant(json!({})), now), Leave::Since(Timestamp::MIN));
        let held = tenant(json!({"hold": {"until": "2026-12-01T00:00:00Z"}}));
        assert_eq!(leave(&held, now), Leave::HeldUntil(at("2026-12-01T00:00:00Z")));
        assert_eq!(leave(&held, at("2026-12-02T00:00:00Z")), Leave::Since(at("2026-12-01T00:00:00Z")));
    }

    #[test]
    fn a_window_that_cant_be_read_moves_nobody_and_says_what_to_write() {
        let lost = tenant(json!({"window": {"from": "22:00", "to": "04:00", "timeZone": "Europe/Atlantis"}}));
        let Leave::Invalid(invalid) = leave(&lost, at("2026-11-29T12:00:00Z")) else { panic!("it may move") };
        assert!(invalid.to_string().contains("Europe/Berlin"), "{invalid}");
    }

    proptest! {
        #[test]
        fn a_window_is_open_from_its_opening_and_closed_before_it(
            (from, to) in ((0u8..24, 0u8..60), (0u8..24, 0u8..60)).prop_filter("some time", |(from, to)| from != to),
            zone in prop_oneof![Just("Europe/Berlin"), Just("America/New_York"), Just("Asia/Kathmandu"), Just("Pacific/Apia"), Just("UTC")],
            seconds in 1_700_000_000i64..1_900_000_000,
        ) {
            let time = |(hour, minute): (u8, u8)| format!("{hour:02}:{minute:02}");
            let tenant = tenant(json!({"window": {"from": time(from), "to": time(to), "timeZone": zone}}));
            let now = Timestamp::from_second(seconds).unwrap();
            match leave(&tenant, now) {
                Leave::Since(opened) => {
                    prop_assert!(opened <= now && leave(&tenant, opened) == Leave::Since(opened));
                }
                Leave::WindowOpens(opens) => {
                    prop_assert!(now < opens && leave(&tenant, opens) == Leave::Since(opens));
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
