//! What a relay has done, as one line of JSON.

use crate::link::Counters;

/// Both directions and what concerns neither alone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    pub seconds: f64,
    pub up: Counters,
    pub down: Counters,
    /// Clients that were served.
    pub flows: u64,
    /// Datagrams of clients beyond the bound.
    pub refused: u64,
    pub rebinds: u64,
    /// Datagrams that were due and that the kernel did not take.
    pub unsent: u64,
}

impl Report {
    pub fn json(&self) -> String {
        format!(
            "{{\"seconds\":{:.3},\"flows\":{},\"refused\":{},\"rebinds\":{},\"unsent\":{},\"up\":{},\"down\":{}}}",
            self.seconds,
            self.flows,
            self.refused,
            self.rebinds,
            self.unsent,
            direction(&self.up),
            direction(&self.down),
        )
    }
}

fn direction(counters: &Counters) -> String {
    let fields = [
        ("received", counters.received),
        ("received_bytes", counters.received_bytes),
        ("delivered", counters.delivered),
        ("delivered_bytes", counters.delivered_bytes),
        ("lost", counters.lost),
        ("overflowed", counters.overflowed),
        ("too_large", counters.too_large),
        ("duplicated", counters.duplicated),
        ("corrupted", counters.corrupted),
        ("reordered", counters.reordered),
        ("marked", counters.marked),
    ];
    let fields = fields.map(|(name, count)| format!("\"{name}\":{count}"));
    format!("{{{}}}", fields.join(","))
}

/// A string as JSON.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(quoted("a\"b\\c\nd"), "\"a\\\"b\\\\c\\u000ad\"");
    }

    #[test]
    fn every_count_has_its_name() {
        let mut report = Report::default();
        report.down.reordered = 3;
        report.unsent = 2;
        let json = report.json();
        assert!(json.contains("\"unsent\":2"));
        assert!(json.ends_with("\"reordered\":3,\"marked\":0}}"));
    }
}
