//! `/etc/ailurus.toml`. Every key is declared in [`super::keys`]; anything else is a mistake, and all mistakes are found.

use super::cf::Said;
use super::complaint::Position;
use super::keys::{KEYS, Key, TABLES};
use super::{Complaint, Gravity, Mode, Settings, near};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads the octets of the file; `said` is what a file read before has.
pub(super) fn read(settings: &mut Settings, file: &Path, text: &[u8], said: &[Said]) {
    let (text, wrong) = match std::str::from_utf8(text) {
        Ok(text) => (text, None),
        Err(error) => (
            std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default(),
            Some((error.valid_up_to(), "not UTF-8".to_owned())),
        ),
    };
    let mut reader = Reader { found: Vec::new(), said };
    reader.found.extend(wrong.map(|(at, what)| (at, Gravity::Fatal, what)));
    // What is left of a file that is not UTF-8 would have mistakes of its own.
    if reader.found.is_empty() {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut last = None;
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            // A parser that has lost its way complains of every word that follows.
            let line = Position::of(text, at).line;
            if last.replace(line) != Some(line) {
                reader.found.push((at, Gravity::Fatal, error.message().replace('\n', "; ")));
            }
        }
        reader.document(settings, document.get_ref());
    }
    reader.found.sort_by_key(|(at, ..)| *at);
    for (at, gravity, what) in reader.found {
        let at = Some(Position::of(text, at));
        settings.complaints.push(Complaint { file: file.into(), at, gravity, what });
    }
}

struct Reader<'s> {
    /// Offset, weight and text.
    found: Vec<(usize, Gravity, String)>,
    said: &'s [Said],
}

impl Reader<'_> {
    fn document(&mut self, settings: &mut Settings, document: &DeTable<'_>) {
        for (name, value) in document {
            let (name, at) = (name.get_ref().as_ref(), name.span().start);
            if !TABLES.iter().any(|(table, _)| *table == name) {
                self.found.push((at, Gravity::Fatal, unknown_table(name, value.get_ref())));
            } else if let Some(table) = value.get_ref().as_table() {
                self.table(settings, name, table);
            } else {
                self.found.push((at, Gravity::Fatal, format!("`{name}` is a table: write [{name}]")));
            }
        }
    }

    fn table(&mut self, settings: &mut Settings, table: &str, entries: &DeTable<'_>) {
        for (name, value) in entries {
            let (name, at) = (name.get_ref().as_ref(), name.span().start);
            let Some(key) = KEYS.iter().find(|key| key.table == table && key.name == name) else {
                self.found.push((at, Gravity::Fatal, unknown_key(table, name)));
                continue;
            };
            self.tell_of_others(key, at);
            let mut value = Value { item: value, wrong: Vec::new() };
            (key.take)(settings, &mut value);
            for (at, what) in value.wrong {
                self.found.push((at, Gravity::Fatal, format!("{name}: {what}")));
            }
        }
    }

    fn tell_of_others(&mut self, key: &Key, at: usize) {
        for said in self.said.iter().filter(|said| key.old.contains(&said.name.as_str())) {
            let Position { line, column } = said.at;
            let (name, file) = (key.name, said.file.display());
            let what = format!("{name}: {file}:{line}:{column} sets {} too; what is here counts", said.name);
            self.found.push((at, Gravity::Note, what));
        }
    }
}

fn unknown_table(name: &str, value: &DeValue<'_>) -> String {
    if let Some(key) = KEYS.iter().find(|key| key.name == name && !value.is_table()) {
        return format!("`{name}` belongs in the table [{}]", key.table);
    }
    let near = near::suggestion(name, TABLES.iter().map(|(table, _)| *table));
    format!("there is no table or key `{name}`{near}")
}

fn unknown_key(table: &str, name: &str) -> String {
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        return format!("`{name}` belongs in the table [{}], not in [{table}]", key.table);
    }
    if let Some(key) = KEYS.iter().find(|key| key.old.contains(&name)) {
        return format!("there is no key `{name}` here: it is {} in the table [{}]", key.name, key.table);
    }
    let here = KEYS.iter().filter(|key| key.table == table).map(|key| key.name);
    let near = near::suggestion(name, here);
    if !near.is_empty() {
        return format!("there is no key `{name}` in [{table}]{near}");
    }
    let elsewhere = near::nearest(name, KEYS.iter().map(|key| key.name));
    let elsewhere = KEYS.iter().find(|key| Some(key.name) == elsewhere);
    let hint =
        elsewhere.map_or(String::new(), |key| format!(" (did you mean `{}` in [{}]?)", key.name, key.table));
    format!("there is no key `{name}` in [{table}]{hint}")
}

/// A value, and what is wrong with it.
pub(super) struct Value<'v> {
    item: &'v Spanned<DeValue<'v>>,
    wrong: Vec<(usize, String)>,
}

impl<'v> Value<'v> {
    fn complain(&mut self, span: &Range<usize>, what: impl Into<String>) {
        self.wrong.push((span.start, what.into()));
    }

    fn expected(&mut self, item: &Spanned<DeValue<'v>>, what: &str) {
        let kind = match item.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.complain(&item.span(), format!("{what} is wanted, not {kind}"));
    }

    /// `true` or `false`
    pub(super) fn flag(&mut self) -> Option<bool> {
        let flag = self.item.get_ref().as_bool();
        if flag.is_none() {
            self.expected(self.item, "true or false");
        }
        flag
    }

    /// A number within bounds.
    pub(super) fn number(&mut self, bounds: RangeInclusive<u32>) -> Option<u32> {
        let Some(digits) = self.item.get_ref().as_integer() else {
            self.expected(self.item, "a number");
            return None;
        };
        let number = u32::from_str_radix(digits.as_str(), digits.radix()).ok();
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            let (least, most) = bounds.into_inner();
            self.complain(&self.item.span(), format!("not a number from {least} to {most}"));
        }
        number
    }

    /// A string.
    pub(super) fn text(&mut self) -> Option<&'v str> {
        let text = self.item.get_ref().as_str();
        if text.is_none() {
            self.expected(self.item, "a string");
        }
        text
    }

    /// A string that a function understands.
    pub(super) fn parse<T>(&mut self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text()?;
        parse(text).map_err(|why| self.complain(&self.item.span(), why)).ok()
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&mut self, words: &[(&'static str, T)]) -> Option<T> {
        self.parse(|text| word(text, words))
    }

    /// A path that starts at the root.
    pub(super) fn path(&mut self) -> Option<PathBuf> {
        self.parse(super::absolute)
    }

    /// A mode, in octal, as a string.
    pub(super) fn mode(&mut self, which: Mode) -> Option<u32> {
        if let Some(digits) = self.item.get_ref().as_integer() {
            // Of one with a leading 0, which is no number of TOML, the reader has the 0.
            let digits = Some(digits.as_str()).filter(|digits| *digits != "0").unwrap_or("600");
            let what = format!("a mode is octal and in quotes, such as \"{digits:0>4}\"");
            self.complain(&self.item.span(), what);
            return None;
        }
        self.parse(|text| {
            let octal = !text.is_empty()
                && text.len() <= 5
                && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
            let mode = octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
            which.check(mode.ok_or_else(|| format!("not an octal mode: {text}"))?)
        })
    }

    /// A list of strings that a function understands, each.
    pub(super) fn list<T>(&mut self, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let Some(items) = self.item.get_ref().as_array() else {
            self.expected(self.item, "a list of strings");
            return None;
        };
        let mut list = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_str().map(&parse) {
                Some(Ok(value)) => list.push(value),
                Some(Err(why)) => self.complain(&item.span(), why),
                None => self.expected(item, "a string"),
            }
        }
        Some(list)
    }

    /// A table of strings that a function understands, each.
    pub(super) fn map<T>(&mut self, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<(String, T)>> {
        let Some(table) = self.item.get_ref().as_table() else {
            self.expected(self.item, "a table of strings");
            return None;
        };
        let mut map = Vec::new();
        for (name, item) in table {
            match item.get_ref().as_str().map(&parse) {
                _ if name.get_ref().is_empty() => self.complain(&name.span(), "an empty name"),
                Some(Ok(value)) => map.push((name.get_ref().to_string(), value)),
                Some(Err(why)) => self.complain(&item.span(), why),
                None => self.expected(item, "a string"),
            }
        }
        Some(map)
    }

    /// A list of some words.
    pub(super) fn words<T: Copy>(&mut self, words: &[(&'static str, T)]) -> Option<Vec<T>> {
        self.list(|text| word(text, words))
    }

    /// Tells whether nothing was wrong so far.
    pub(super) fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Adds a complaint about all of the value.
    pub(super) fn refuse(&mut self, why: String) {
        self.complain(&self.item.span(), why);
    }
}

fn word<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let known = || words.iter().map(|(word, _)| *word);
    let near = near::suggestion(text, known());
    let all = known().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    Err(format!("not one of {all}: {text}{near}"))
}
