//! Internal dates (RFC 3501 §2.3.3), as the mailbox formats write them (spec/storage-common.md §8).

use std::fmt;

/// The month names of mail, January first.
pub const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// An internal date: calendar fields and a zone, kept as they were written.
///
/// The fields are in their ranges, but days are not checked against months, as the reference does not either: a
/// file that says 31 February is given back as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct InternalDate {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    offset: i16,
}

/// The text is no date that the reference would take. The fields read before the fault are in `so_far`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a date")]
pub struct DateError {
    /// What could be read, the rest being midnight UTC on the first of January 1970.
    pub so_far: InternalDate,
}

impl Default for InternalDate {
    /// Returns midnight UTC on the first of January 1970.
    fn default() -> Self {
        Self { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, offset: 0 }
    }
}

impl InternalDate {
    /// Parses every form that mailboxes and APPEND hold: `dd-Mmm-yyyy hh:mm:ss +zzzz`, with an optional weekday, 2-digit
    /// years, names of zones, and the numeric shapes of the reference. A zone that is missing or unknown is
    /// `local_offset`, in minutes east of UTC.
    pub fn parse(text: &[u8], local_offset: i16) -> Result<Self, DateError> {
        let mut date = Self::default();
        match date.read(text, local_offset) {
            Some(()) => Ok(date),
            None => Err(DateError { so_far: date }),
        }
    }

    /// Returns the date of a moment, in seconds since 1970 UTC, as a clock `offset` minutes east of UTC shows it.
    /// Moments outside 1970..2097 are moved to its nearest end.
    #[must_use]
    pub fn from_timestamp(seconds: i64, offset: i16) -> Self {
        const LAST: i64 = 4_039_372_799; // 31 Dec 2097 23:59:59
        let local = seconds.saturating_add(i64::from(offset) * 60).clamp(0, LAST);
        let (days, clock) = (local / 86_400, local % 86_400);
        let (year, month, day) = civil_from_days(days);
        let small = |value: i64| u8::try_from(value).unwrap_or(0);
        Self {
            year: u16::try_from(year).unwrap_or(1970),
            month: small(month),
            day: small(day),
            hour: small(clock / 3600),
            minute: small(clock / 60 % 60),
            second: small(clock % 60),
            offset,
        }
    }

    /// Returns the moment in seconds since 1970 UTC.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        let days = days_from_civil(i64::from(self.year), i64::from(self.month), i64::from(self.day));
        let clock = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        days * 86_400 + clock - i64::from(self.offset) * 60
    }

    /// Returns year, month (1 to 12) and day as written, in the date's own zone.
    #[must_use]
    pub fn calendar(&self) -> (u16, u8, u8) {
        (self.year, self.month, self.day)
    }

    /// Returns hour, minute and second as written, in the date's own zone.
    #[must_use]
    pub fn clock(&self) -> (u8, u8, u8) {
        (self.hour, self.minute, self.second)
    }

    /// Returns the zone, in minutes east of UTC.
    #[must_use]
    pub fn offset(&self) -> i16 {
        self.offset
    }

    /// Returns the weekday of the calendar date as `Mon`.
    #[must_use]
    pub fn weekday(&self) -> &'static str {
        const NAMES: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        let days = days_from_civil(i64::from(self.year), i64::from(self.month), i64::from(self.day));
        NAMES[usize::try_from(days.rem_euclid(7)).unwrap_or(0)]
    }

    /// Returns the date in a From_ line: `Sat Feb  1 12:34:56 2025 +0200`.
    #[must_use]
    pub fn from_line(&self) -> String {
        format!("{} {}", self.ctime(), self.zone())
    }

    /// Returns the date as ctime(3) shows it: `Sat Feb  1 12:34:56 2025`, in the date's own zone.
    #[must_use]
    pub fn ctime(&self) -> String {
        let Self { year, day, hour, minute, second, .. } = self;
        format!(
            "{} {} {day:2} {hour:02}:{minute:02}:{second:02} {year:04}",
            self.weekday(),
            self.month_name()
        )
    }

    /// Packs the date into a number, for indexes: see [`InternalDate::from_bits`].
    #[must_use]
    pub fn to_bits(&self) -> u64 {
        let Self { year, month, day, hour, minute, second, offset } = *self;
        let fields = [(u64::from(year), 12), (month.into(), 4), (day.into(), 5), (hour.into(), 5)];
        let clock = [(u64::from(minute), 6), (second.into(), 6)];
        let bits = fields.into_iter().chain(clock).fold(0, |bits, (value, width)| bits << width | value);
        bits << 16 | u64::from(offset.cast_unsigned())
    }

    /// Returns the date of which [`InternalDate::to_bits`] made this number; `None` if it is of none.
    #[must_use]
    pub fn from_bits(bits: u64) -> Option<Self> {
        let field = |at: u32, width: u32| bits >> at & ((1 << width) - 1);
        let small = |at: u32, width: u32| u8::try_from(field(at, width)).unwrap_or(0);
        let date = Self {
            year: u16::try_from(field(42, 12)).ok()?,
            month: small(38, 4),
            day: small(33, 5),
            hour: small(28, 5),
            minute: small(22, 6),
            second: small(16, 6),
            offset: u16::try_from(field(0, 16)).ok()?.cast_signed(),
        };
        let good = date.month <= 12 && date.hour <= 23 && date.minute <= 59 && date.second <= 60;
        (good && bits >> 54 == 0).then_some(date)
    }

    /// Returns the month as `Feb`.
    #[must_use]
    pub fn month_name(&self) -> &'static str {
        MONTHS.get(usize::from(self.month).wrapping_sub(1)).copied().unwrap_or("Jan")
    }

    /// Returns the zone as `+0200`.
    #[must_use]
    pub fn zone(&self) -> String {
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.unsigned_abs();
        format!("{sign}{:02}{:02}", minutes / 60, minutes % 60)
    }

    /// Appends ` 1-Feb-2025 12:34:56 +0200` (26 octets), without a detour through a formatter: FETCH prints one for
    /// each message.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let two = |value: u8| [b'0' + value / 10 % 10, b'0' + value % 10];
        let day = two(self.day);
        out.extend_from_slice(&[if self.day < 10 { b' ' } else { day[0] }, day[1], b'-']);
        out.extend_from_slice(self.month_name().as_bytes());
        out.push(b'-');
        let (century, rest) = (self.year / 100, self.year % 100);
        for part in [century, rest] {
            out.extend_from_slice(&two(u8::try_from(part).unwrap_or(0)));
        }
        for (before, value) in [(b' ', self.hour), (b':', self.minute), (b':', self.second)] {
            out.push(before);
            out.extend_from_slice(&two(value));
        }
        out.extend_from_slice(if self.offset < 0 { b" -" } else { b" +" });
        let minutes = self.offset.unsigned_abs();
        for part in [minutes / 60, minutes % 60] {
            out.extend_from_slice(&two(u8::try_from(part).unwrap_or(0)));
        }
    }

    /// Parses `yyyymmddhhmmss+zzzz`, as the mix format has it; `None` where it is none, or a field is out of its range.
    #[must_use]
    pub fn parse_compact(text: &[u8]) -> Option<Self> {
        let text: &[u8; 19] = text.try_into().ok()?;
        let digit = |at: usize| text[at].is_ascii_digit().then(|| text[at] - b'0');
        let two = |at: usize| Some(digit(at)? * 10 + digit(at + 1)?);
        let mut date = Self::default();
        date.set_day(u32::from(two(0)?) * 100 + u32::from(two(2)?), two(4)?.into(), two(6)?.into())?;
        (date.hour, date.minute, date.second) = (two(8)?, two(10)?, two(12)?);
        date.offset = numeric_zone(text[14], &text[15..])?;
        let good =
            date.hour <= 23 && date.minute <= 59 && date.second <= 60 && matches!(text[14], b'+' | b'-');
        good.then_some(date)
    }

    /// Appends the 19 octets that [`InternalDate::parse_compact`] takes.
    pub fn append_compact_to(&self, out: &mut Vec<u8>) {
        let mut two = |value: u16| {
            let value = u8::try_from(value % 100).unwrap_or(0);
            out.extend_from_slice(&[b'0' + value / 10, b'0' + value % 10]);
        };
        two(self.year / 100);
        two(self.year);
        for part in [self.month, self.day, self.hour, self.minute, self.second] {
            two(part.into());
        }
        out.push(if self.offset < 0 { b'-' } else { b'+' });
        let minutes = self.offset.unsigned_abs();
        for part in [minutes / 60, minutes % 60] {
            let part = u8::try_from(part).unwrap_or(0);
            out.extend_from_slice(&[b'0' + part / 10 % 10, b'0' + part % 10]);
        }
    }

    /// Fills in fields from the text as far as they go; `None` at the first fault.
    fn read(&mut self, text: &[u8], local_offset: i16) -> Option<()> {
        let mut text = Reader(text);
        text.skip_weekday();
        text.skip_spaces();
        let day_only = self.read_day(&mut text)?;
        if text.0.is_empty() {
            self.offset = if day_only { 0 } else { local_offset };
            return Some(());
        }
        if day_only {
            return None;
        }
        text.0 = text.0.get(1..)?;
        self.hour = text.number_to(23)?;
        text.expect(b':')?;
        self.minute = text.number_to(59)?;
        if text.0.first() == Some(&b':') {
            text.expect(b':')?;
            self.second = text.number_to(60)?;
        }
        self.offset = zone_offset(text.0, local_offset);
        Some(())
    }

    /// Reads the calendar day; tells whether its shape is one that nothing may follow.
    fn read_day(&mut self, text: &mut Reader<'_>) -> Option<bool> {
        let digits = text.digits();
        let first = text.number()?;
        let separator = *text.0.first().unwrap_or(&0);
        match (digits, separator) {
            (8, _) => {
                self.set_day(first / 10_000, first / 100 % 100, first % 100)?;
                Some(true)
            }
            (4, b'-') => {
                text.expect(b'-')?;
                let month = text.number()?;
                text.expect(b'-')?;
                self.set_day(first, month, text.number()?)?;
                Some(true)
            }
            (_, b'/') => {
                text.expect(b'/')?;
                let day = text.number()?;
                text.expect(b'/')?;
                self.set_day(full_year(text.number()?), first, day)?;
                Some(true)
            }
            (_, b'-' | b' ') => {
                text.expect(separator)?;
                let month = text.month()?;
                text.expect(separator)?;
                self.set_day(full_year(text.number()?), month, first)?;
                Some(false)
            }
            _ => None,
        }
    }

    fn set_day(&mut self, year: u32, month: u32, day: u32) -> Option<()> {
        if !(1970..=2097).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        self.year = u16::try_from(year).ok()?;
        self.month = u8::try_from(month).ok()?;
        self.day = u8::try_from(day).ok()?;
        Some(())
    }
}

impl fmt::Display for InternalDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(26);
        self.append_to(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

struct Reader<'t>(&'t [u8]);

impl Reader<'_> {
    fn skip_weekday(&mut self) {
        if let [a, b, c, b',', rest @ ..] = self.0
            && [a, b, c].iter().all(|octet| octet.is_ascii_alphabetic())
        {
            self.0 = rest;
        }
    }

    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn expect(&mut self, octet: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        (*first == octet).then_some(())
    }

    fn digits(&self) -> usize {
        self.0.iter().take_while(|octet| octet.is_ascii_digit()).count()
    }

    fn number(&mut self) -> Option<u32> {
        let digits = self.digits();
        if !(1..=9).contains(&digits) {
            return None;
        }
        let value = self.0[..digits].iter().fold(0u32, |value, octet| value * 10 + u32::from(octet - b'0'));
        self.0 = &self.0[digits..];
        Some(value)
    }

    fn number_to(&mut self, most: u32) -> Option<u8> {
        self.number().filter(|value| *value <= most).and_then(|value| u8::try_from(value).ok())
    }

    /// Takes a month name, short or full.
    fn month(&mut self) -> Option<u32> {
        let letters = self.0.iter().take_while(|octet| octet.is_ascii_alphabetic()).count();
        let (name, rest) = self.0.split_at(letters);
        let short = name.get(..3)?;
        let month = MONTHS.iter().position(|month| short.eq_ignore_ascii_case(month.as_bytes()))?;
        self.0 = rest;
        u32::try_from(month + 1).ok()
    }
}

fn full_year(year: u32) -> u32 {
    match year {
        0..=48 => year + 2000,
        49..=998 => year + 1900,
        _ => year,
    }
}

/// Reads ` +hhmm`, ` PST` or `-PST`; anything else is the local offset.
fn zone_offset(text: &[u8], local: i16) -> i16 {
    match text {
        [b' ', sign @ (b'+' | b'-'), digits @ ..] => numeric_zone(*sign, digits).unwrap_or(local),
        [b' ' | b'-', name @ ..] => named_zone(name).unwrap_or(local),
        _ => local,
    }
}

fn numeric_zone(sign: u8, digits: &[u8]) -> Option<i16> {
    let digits = digits.get(..4)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let two = |tens: u8, ones: u8| i16::from(tens - b'0') * 10 + i16::from(ones - b'0');
    let (hours, minutes) = (two(digits[0], digits[1]), two(digits[2], digits[3]));
    // "+9999" is 100 hours and 39 minutes. Five digits make a line none that any program takes for a From_ line, and
    // its message would go on the one before.
    if hours > 23 || minutes > 59 {
        return None;
    }
    let minutes = hours * 60 + minutes;
    Some(if sign == b'-' { -minutes } else { minutes })
}

/// Returns the minutes east of UTC of a zone by its name: those of RFC 822, its military letters with the signs that they
/// were meant to have, and some that mail has besides (spec/storage-common.md §8).
#[must_use]
pub fn named_zone(name: &[u8]) -> Option<i16> {
    let upper = name.to_ascii_uppercase();
    let hours = match upper.as_slice() {
        b"UT" | b"UTC" | b"GMT" | b"Z" => 0,
        b"MET" | b"A" => 1,
        b"EET" | b"B" => 2,
        [letter @ b'C'..=b'I'] => i16::from(letter - b'C') + 3,
        b"JST" => 9,
        [letter @ b'K'..=b'M'] => i16::from(letter - b'K') + 10,
        b"N" => -1,
        b"O" => -2,
        b"ADT" | b"P" => -3,
        b"AST" | b"EDT" | b"Q" => -4,
        b"EST" | b"CDT" | b"R" => -5,
        b"CST" | b"MDT" | b"S" => -6,
        b"MST" | b"PDT" | b"T" => -7,
        b"PST" | b"YDT" | b"U" => -8,
        b"YST" | b"V" => -9,
        b"HST" | b"W" => -10,
        b"X" => -11,
        b"Y" => -12,
        _ => return None,
    };
    Some(hours * 60)
}

/// Returns the days from 1970-01-01 to a date of the proleptic Gregorian calendar.
#[must_use]
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years start in March, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<String> {
        InternalDate::parse(text.as_bytes(), -300).ok().map(|date| date.to_string())
    }

    #[test]
    fn dates_survive_as_numbers() {
        for text in [" 1-Jan-1970 00:00:00 +0000", "31-Feb-2097 23:59:60 -1200", " 9-Dec-1999 01:02:03 +1400"]
        {
            let date = InternalDate::parse(text.as_bytes(), 0).unwrap();
            assert_eq!(InternalDate::from_bits(date.to_bits()), Some(date));
            assert_eq!(date.to_string(), text);
        }
        for bits in [u64::MAX, 1 << 54, 13 << 38, 24 << 28, 60 << 22, 61 << 16] {
            assert_eq!(InternalDate::from_bits(bits), None, "{bits:x}");
        }
    }

    #[test]
    fn the_shapes_of_the_reference_are_read() {
        for (text, printed) in [
            (" 1-Feb-2025 12:34:56 +0200", " 1-Feb-2025 12:34:56 +0200"),
            ("01-feb-2025 12:34:56 -0330", " 1-Feb-2025 12:34:56 -0330"),
            ("Sat, 1 February 25 12:34 EST", " 1-Feb-2025 12:34:00 -0500"),
            ("02-Dec-1992 05:53:22-PST", " 2-Dec-1992 05:53:22 -0800"),
            ("02-Dec-92 05:53:22", " 2-Dec-1992 05:53:22 -0500"),
            ("31-Feb-2025 23:59:60 +0000", "31-Feb-2025 23:59:60 +0000"),
            ("2025-02-01", " 1-Feb-2025 00:00:00 +0000"),
            ("20250201", " 1-Feb-2025 00:00:00 +0000"),
            ("2/1/25", " 1-Feb-2025 00:00:00 +0000"),
        ] {
            assert_eq!(parse(text).as_deref(), Some(printed), "{text}");
        }
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "",
            "x",
            "32-Jan-2025 00:00:00 +0000",
            "1-Foo-2025",
            "1-Jan-1969 00:00:00",
            "1-Jan-2098 00:00:00",
            "1-Jan-2025 24:00:00",
            "2025-02-01 00:00:00",
            "99999999999-Jan-2025",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_zone_has_more_than_four_digits() {
        for zone in ["+9999", "-2400", "+0060"] {
            let date = InternalDate::parse(format!("1-Feb-2025 12:00:00 {zone}").as_bytes(), 60).unwrap();
            assert_eq!(date.zone(), "+0100", "{zone} is unknown");
        }
        let date = InternalDate::parse(b"1-Feb-2025 12:00:00 -2359", 0).unwrap();
        assert_eq!(date.from_line(), "Sat Feb  1 12:00:00 2025 -2359");
    }

    #[test]
    fn a_fault_keeps_what_was_read() {
        let so_far = InternalDate::parse(b"2-Dec-1992 ab:cd", 60).unwrap_err().so_far;
        assert_eq!(so_far.to_string(), " 2-Dec-1992 00:00:00 +0000");
    }

    #[test]
    fn moments_and_fields_agree() {
        let date = InternalDate::parse(b" 1-Mar-2025 12:00:00 +0000", 0).unwrap();
        assert_eq!(date.timestamp(), 1_740_830_400);
        assert_eq!(date.from_line(), "Sat Mar  1 12:00:00 2025 +0000");
        for seconds in (0..4_039_372_799).step_by(86_400 * 13 + 7_777) {
            let date = InternalDate::from_timestamp(seconds, 0);
            assert_eq!(date.timestamp(), seconds);
            assert_eq!(InternalDate::parse(date.to_string().as_bytes(), 0), Ok(date));
        }
        assert_eq!(
            InternalDate::from_timestamp(1_740_830_400, 120).to_string(),
            " 1-Mar-2025 14:00:00 +0200"
        );
    }

    #[test]
    fn compact_dates_are_given_back_as_they_were() {
        for text in
            ["20250201123456+0200", "20240305010203-0830", "19700101000000+0000", "20971231235960-2359"]
        {
            let date = InternalDate::parse_compact(text.as_bytes()).unwrap();
            let mut out = Vec::new();
            date.append_compact_to(&mut out);
            assert_eq!(out, text.as_bytes());
        }
        let date = InternalDate::parse_compact(b"20240305010203-0830").unwrap();
        assert_eq!(date.to_string(), " 5-Mar-2024 01:02:03 -0830");
        for text in [
            "20250201123456 0200",
            "20250201123456+2460",
            "20251301123456+0200",
            "20250200123456+0200",
            "20250201243456+0200",
            "20980201123456+0200",
            "2025020112345x+0200",
            "20250201123456+020",
            "20250201123456+02000",
        ] {
            assert_eq!(InternalDate::parse_compact(text.as_bytes()), None, "{text}");
        }
    }
}
