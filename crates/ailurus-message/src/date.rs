//! The `Date:` field (RFC 5322 §3.3, §4.3), and the forms beyond it that mail has.

use crate::lex::skip_space;
use ailurus_types::{MONTHS, days_from_civil, named_zone};

/// A date and time as a header states it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Date {
    /// The year, with its century.
    pub year: i32,
    /// The month, from 1.
    pub month: u8,
    /// The day of the month, from 1 to 31 whatever the month.
    pub day: u8,
    /// The hour.
    pub hour: u8,
    /// The minute.
    pub minute: u8,
    /// The second; 60 in a leap second.
    pub second: u8,
    /// Minutes east of UTC; `None` where the zone is missing or unknown.
    pub zone: Option<i16>,
}

impl Date {
    /// Reads the value of a field, still folded. `None` if no date can be made out.
    ///
    /// Read are `[Www,] dd Mmm yy[yy]` (also with `-` between, and with full month names), `mm/dd/yy[yy]`, `yyyy-mm-dd` and
    /// `yyyymmdd`, each with an optional time `hh:mm[:ss]` and zone. Comments may stand anywhere. Years up to 48 are of this
    /// century, other years of two or three digits count from 1900.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (mut date, mut parser) = Self::parse_day(value)?;
        if parser.peek().is_some() {
            (date.hour, date.minute, date.second) = parser.time()?;
            date.zone = parser.zone();
        }
        Some(date)
    }

    /// Returns the sent date of SORT and THREAD (RFC 5256 §2.2) in seconds since 1970 UTC: a time that cannot be made out is
    /// midnight. `None` if no date can be made out.
    pub fn sent(value: &[u8]) -> Option<i64> {
        let date = Self::parse(value).or_else(|| Some(Self::parse_day(value)?.0))?;
        Some(date.timestamp())
    }

    /// Reads the day, and returns what reads on.
    fn parse_day(value: &[u8]) -> Option<(Self, Parser<'_>)> {
        let mut parser = Parser { text: value, at: 0 };
        parser.skip_day_name();
        let (year, month, day) = parser.date()?;
        if !(1..=31).contains(&day) || !(1..=12).contains(&month) {
            return None;
        }
        Some((Self { year, month, day, hour: 0, minute: 0, second: 0, zone: None }, parser))
    }

    /// Returns the instant in seconds since 1970 UTC. An unknown zone counts as UTC.
    pub fn timestamp(&self) -> i64 {
        let time = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        self.days() * 86_400 + time - i64::from(self.zone.unwrap_or(0)) * 60
    }

    /// Returns the days from 1970-01-01 to the calendar date as written, in whatever zone: what SENTON compares.
    pub fn days(&self) -> i64 {
        days_from_civil(self.year.into(), self.month.into(), self.day.into())
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&mut self) -> Option<u8> {
        self.at = skip_space(self.text, self.at);
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, octet: u8) -> bool {
        let there = self.peek() == Some(octet);
        self.at += usize::from(there);
        there
    }

    fn run(&mut self, is_in: fn(&u8) -> bool) -> &'a [u8] {
        self.peek();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.iter().take_while(|octet| is_in(octet)).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn letters(&mut self) -> &'a [u8] {
        self.run(u8::is_ascii_alphabetic)
    }

    /// Reads a number of at most eight digits; returns also how many there are.
    fn number(&mut self) -> Option<(u32, usize)> {
        let digits = self.run(u8::is_ascii_digit);
        if digits.is_empty() || digits.len() > 8 {
            return None;
        }
        Some((digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')), digits.len()))
    }

    fn small_number(&mut self) -> Option<u8> {
        u8::try_from(self.number()?.0).ok()
    }

    fn skip_day_name(&mut self) {
        self.letters();
        self.eat(b',');
    }

    fn date(&mut self) -> Option<(i32, u8, u8)> {
        let (first, digits) = self.number()?;
        match self.peek() {
            Some(b'/') => {
                self.at += 1;
                let day = self.small_number()?;
                let year = self.eat(b'/').then(|| self.year())??;
                Some((year, u8::try_from(first).ok()?, day))
            }
            None if digits == 8 => {
                let part = |number: u32| u8::try_from(number % 100).ok();
                Some((i32::try_from(first / 10_000).ok()?, part(first / 100)?, part(first)?))
            }
            _ => {
                let dash = self.eat(b'-');
                if dash && self.peek()?.is_ascii_digit() {
                    return self.iso_date(full_year(first, digits)?);
                }
                let month = month_number(self.letters())?;
                self.eat(b'-');
                Some((self.year()?, month, u8::try_from(first).ok()?))
            }
        }
    }

    fn iso_date(&mut self, year: i32) -> Option<(i32, u8, u8)> {
        let month = self.small_number()?;
        let day = self.eat(b'-').then(|| self.small_number())??;
        self.eat(b'T');
        Some((year, month, day))
    }

    fn year(&mut self) -> Option<i32> {
        let (number, digits) = self.number()?;
        full_year(number, digits)
    }

    fn time(&mut self) -> Option<(u8, u8, u8)> {
        let hour = self.small_number()?;
        let minute = self.eat(b':').then(|| self.small_number())??;
        let second = if self.eat(b':') { self.small_number()? } else { 0 };
        (hour <= 23 && minute <= 59 && second <= 60).then_some((hour, minute, second))
    }

    fn zone(&mut self) -> Option<i16> {
        let sign = match self.peek()? {
            b'+' => 1,
            b'-' => -1,
            _ => return named_zone(self.letters()),
        };
        self.at += 1;
        let (number, digits) = match self.number() {
            Some(found) => found,
            // The names may follow a dash, as in "12:00-PST".
            None => return named_zone(self.letters()),
        };
        let (hours, minutes) = (number / 100, number % 100);
        if digits != 4 || minutes > 59 {
            return None;
        }
        Some(sign * i16::try_from(hours * 60 + minutes).ok()?)
    }
}

/// Returns the year that a number of so many digits means.
fn full_year(number: u32, digits: usize) -> Option<i32> {
    let year = i32::try_from(number).ok()?;
    match digits {
        1..=3 if year < 49 => Some(year + 2000),
        1..=3 => Some(year + 1900),
        4 => Some(year),
        _ => None,
    }
}

fn month_number(name: &[u8]) -> Option<u8> {
    let start = name.get(..3)?;
    let index = MONTHS.iter().position(|month| month.as_bytes().eq_ignore_ascii_case(start))?;
    u8::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(value: &str) -> Option<(i64, Option<i16>)> {
        Date::parse(value.as_bytes()).map(|date| (date.timestamp(), date.zone))
    }

    #[test]
    fn sent_dates() {
        // RFC 5256 §2.2
        assert_eq!(Date::sent(b"31 Dec 2000 16:01:33 -0800"), Date::sent(b"1 Jan 2001 00:01:33 +0000"));
        assert_eq!(Date::sent(b"31 Dec 2000 16:01:33 XYZ"), Date::sent(b"31 Dec 2000 16:01:33 +0000"));
        assert_eq!(Date::sent(b"Sun, 31 Dec 2000 25:99 -0800"), Date::sent(b"31 Dec 2000 00:00:00 +0000"));
        assert_eq!(Date::sent(b"31 December"), None);
    }

    #[test]
    fn dates_of_mail() {
        for (value, seconds, zone) in [
            ("Fri, 21 Nov 1997 09:55:06 -0600", 880_127_706, Some(-360)),
            ("Thu, 13\r\n Feb\r\n 1969\r\n 23:32\r\n -0330 (Newfoundland Time)", -27_723_480, Some(-210)),
            ("21 Nov 97 09:55:06 GMT", 880_106_106, Some(0)),
            ("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880_127_706, Some(-360)),
            ("Tue, 8 Sep 2026 13:30:00 +0200", 1_788_867_000, Some(120)),
            ("1 Jan 1970 00:00:00 +0000", 0, Some(0)),
            ("1 January 1970 00:00 EST", 18_000, Some(-300)),
            ("1-Jan-70 00:00-pst", 28_800, Some(-480)),
            ("1/2/1970", 86_400, None),
            ("1970-01-02", 86_400, None),
            ("70-01-02", 86_400, None),
            ("19700102", 86_400, None),
            ("1970-01-02T00:00:00Z", 86_400, Some(0)),
            ("29 Feb 2000 12:00 XYZ", 951_825_600, None),
            ("31 Dec 48 23:59:60 Z", 2_493_072_000, Some(0)),
            ("1 Jan 100 00:00 n", 946_688_400, Some(-60)),
        ] {
            assert_eq!(read(value), Some((seconds, zone)), "{value}");
        }
    }

    #[test]
    fn what_is_no_date() {
        for value in [
            "",
            "now",
            "Mon,",
            "32 Jan 2000",
            "1 Foo 2000",
            "1 Jan",
            "1 Jan 2000 24:00",
            "1 Jan 2000 noon",
            "0 Jan 2000",
            "99999999999 Jan 2000",
            "1 Jan 20000",
        ] {
            assert_eq!(read(value), None, "{value}");
        }
    }

    #[test]
    fn the_calendar_date_is_that_of_its_own_zone() {
        let date = Date::parse(b"Wed, 9 Sep 2026 23:30:00 -0500").expect("a date");
        assert_eq!((date.year, date.month, date.day), (2026, 9, 9));
        assert_eq!(date.days() * 86_400 + 86_400 - 1_800 + 5 * 3_600, date.timestamp());
    }

    proptest! {
        #[test]
        fn any_octets_do(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _seconds = Date::parse(&value).map(|date| date.timestamp());
        }

        #[test]
        fn near_dates_do(value in "([0-9]{1,9}|[A-Za-z]{1,4}|[-+:/ ,()]){0,14}") {
            let _seconds = Date::parse(value.as_bytes()).map(|date| date.timestamp());
        }
    }
}
