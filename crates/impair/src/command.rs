//! One line of text that changes a relay: `[up|down] KEY VALUE`, `rebind` or `quit`.
//!
//! Without a direction it means both. Times carry a unit (`us`, `ms`, `s`), rates are bits per
//! second with `k`, `M` or `G`, sizes are bytes with `k` or `M` (1,024 each), shares are 0 to 1;
//! `rate none` and `mtu none` lift a limit.

use std::time::Duration;

use crate::link::Settings;

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Changes one setting, towards the server (`up`), towards the client (`down`), or both.
    Set {
        up: bool,
        down: bool,
        change: Change,
    },
    /// The server sees its clients at new ports from now on.
    Rebind,
    Quit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    Delay(Duration),
    Jitter(Duration),
    Loss(f64),
    Duplicate(f64),
    Corrupt(f64),
    Reorder(f64),
    Mark(f64),
    ReorderDelay(Duration),
    Rate(Option<u64>),
    Queue(usize),
    Mtu(usize),
}

impl Change {
    pub fn apply(self, settings: &mut Settings) {
        match self {
            Change::Delay(value) => settings.delay = value,
            Change::Jitter(value) => settings.jitter = value,
            Change::Loss(value) => settings.loss = value,
            Change::Duplicate(value) => settings.duplicate = value,
            Change::Corrupt(value) => settings.corrupt = value,
            Change::Reorder(value) => settings.reorder = value,
            Change::Mark(value) => settings.mark = value,
            Change::ReorderDelay(value) => settings.reorder_delay = value,
            Change::Rate(value) => settings.rate = value,
            Change::Queue(value) => settings.queue_bytes = value,
            Change::Mtu(value) => settings.mtu = value,
        }
    }
}

/// What a line asks for, or what is wrong with it.
pub fn parse(line: &str) -> Result<Command, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (up, down, rest) = match words.as_slice() {
        ["rebind"] => return Ok(Command::Rebind),
        ["quit"] => return Ok(Command::Quit),
        ["up", rest @ ..] => (true, false, rest),
        ["down", rest @ ..] => (false, true, rest),
        rest => (true, true, rest),
    };
    let [key, value] = rest else {
        return Err(format!("\"{line}\" is not [up|down] KEY VALUE"));
    };
    let change = change(key, value).ok_or_else(|| format!("\"{key} {value}\" is not a setting"))?;
    Ok(Command::Set { up, down, change })
}

fn change(key: &str, value: &str) -> Option<Change> {
    Some(match key {
        "delay" => Change::Delay(time(value)?),
        "jitter" => Change::Jitter(time(value)?),
        "loss" => Change::Loss(share(value)?),
        "duplicate" => Change::Duplicate(share(value)?),
        "corrupt" => Change::Corrupt(share(value)?),
        "reorder" => Change::Reorder(share(value)?),
        "mark" => Change::Mark(share(value)?),
        "reorder-delay" => Change::ReorderDelay(time(value)?),
        "rate" if value == "none" => Change::Rate(None),
        "rate" => Change::Rate(Some(number(value, 1000).filter(|rate| *rate > 0)?)),
        "queue" => Change::Queue(number(value, 1024)?.try_into().ok()?),
        "mtu" if value == "none" => Change::Mtu(usize::MAX),
        "mtu" => Change::Mtu(number(value, 1024)?.try_into().ok()?),
        _ => return None,
    })
}

/// At most a minute: a relay is for tests.
fn time(text: &str) -> Option<Duration> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let (digits, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))?;
    let seconds = digits.parse::<f64>().ok()? * unit;
    (0.0..=60.0)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

fn share(text: &str) -> Option<f64> {
    let share = text.parse::<f64>().ok()?;
    (0.0..=1.0).contains(&share).then_some(share)
}

fn number(text: &str, base: u64) -> Option<u64> {
    let (digits, power) = match text.chars().last()? {
        'k' => (&text[..text.len() - 1], 1),
        'M' => (&text[..text.len() - 1], 2),
        'G' => (&text[..text.len() - 1], 3),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(base.pow(power))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn set(line: &str) -> (bool, bool, Change) {
        match parse(line).unwrap() {
            Command::Set { up, down, change } => (up, down, change),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn lines_mean_what_they_say() {
        assert_eq!(set("loss 0.01"), (true, true, Change::Loss(0.01)));
        assert_eq!(
            set("up delay 20ms"),
            (true, false, Change::Delay(Duration::from_millis(20)))
        );
        assert_eq!(
            set("down jitter 1.5s"),
            (false, true, Change::Jitter(Duration::from_millis(1500)))
        );
        assert_eq!(
            set("reorder-delay 50us").2,
            Change::ReorderDelay(Duration::from_micros(50))
        );
        assert_eq!(set("rate 100M").2, Change::Rate(Some(100_000_000)));
        assert_eq!(set("rate none").2, Change::Rate(None));
        assert_eq!(set("mark 1").2, Change::Mark(1.0));
        assert_eq!(set("queue 64k").2, Change::Queue(65_536));
        assert_eq!(set("mtu 1200").2, Change::Mtu(1200));
        assert_eq!(set("mtu none").2, Change::Mtu(usize::MAX));
        assert_eq!(parse("rebind").unwrap(), Command::Rebind);
        assert_eq!(parse("quit").unwrap(), Command::Quit);
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "up",
            "loss",
            "loss 2",
            "loss -0.1",
            "loss NaN",
            "delay 20",
            "delay 61s",
            "delay -1ms",
            "rate 99999999999999999999",
            "rate 18446744073709551615G",
            "rate fast",
            "rate 0",
            "sideways loss 0.1",
            "up loss 0.1 0.2",
            "colour blue",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
