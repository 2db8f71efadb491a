//! BODY and BODYSTRUCTURE (RFC 3501 §7.4.2).

use crate::{
    content::Parameters,
    envelope::MAX_ENTRIES,
    header::unfold,
    message::{Kind, Message, Part},
};
use ailurus_types::wire;

impl Message<'_> {
    /// Appends the envelope as FETCH sends it.
    pub fn envelope(&self, out: &mut Vec<u8>) {
        self.root().envelope().print(out);
    }

    /// Appends the body structure without extension data, as FETCH sends it for `BODY`.
    pub fn body(&self, out: &mut Vec<u8>) {
        Printer { extension: Extension::Leave, room: MAX_ENTRIES, out }.part(&self.root());
    }

    /// Appends the body structure with extension data, as FETCH sends it for `BODYSTRUCTURE`.
    pub fn body_structure(&self, out: &mut Vec<u8>) {
        Printer { extension: Extension::Print, room: MAX_ENTRIES, out }.part(&self.root());
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Extension {
    Print,
    Leave,
}

struct Printer<'o> {
    extension: Extension,
    /// How many more addresses and parameters may be shown.
    room: usize,
    out: &'o mut Vec<u8>,
}

impl Printer<'_> {
    // Recurses no deeper than parts nest, which MAX_DEPTH limits.
    fn part(&mut self, part: &Part<'_>) {
        self.raw(b"(");
        if part.kind() == Kind::Multipart {
            for child in part.children() {
                self.part(&child);
            }
            self.raw(b" ");
            self.string(&part.subtype());
            if self.extension == Extension::Print {
                self.raw(b" ");
                self.parameters(part.parameters());
            }
        } else {
            self.single(part);
            if self.extension == Extension::Print {
                self.raw(b" ");
                self.text(part.md5());
            }
        }
        if self.extension == Extension::Print {
            self.common_extension(part);
        }
        self.raw(b")");
    }

    /// Appends what all but multiparts have.
    fn single(&mut self, part: &Part<'_>) {
        self.string(&part.media_type());
        self.raw(b" ");
        self.string(&part.subtype());
        self.raw(b" ");
        match part.guessed_charset() {
            Some(charset) => {
                self.raw(b"(\"CHARSET\" ");
                self.string(charset);
                self.raw(b")");
            }
            None => self.parameters(part.parameters()),
        }
        self.raw(b" ");
        self.text(part.id());
        self.raw(b" ");
        self.text(part.description());
        self.raw(b" ");
        self.string(&part.encoding_name());
        self.raw(b" ");
        wire::number(self.out, part.body_octets());
        if let Some(message) = part.message() {
            self.raw(b" ");
            message.envelope().print_within(&mut self.room, self.out);
            self.raw(b" ");
            self.part(&message);
        }
        if matches!(part.kind(), Kind::Text | Kind::Message) {
            self.raw(b" ");
            wire::number(self.out, part.body_lines());
        }
    }

    /// Appends disposition, language and location.
    fn common_extension(&mut self, part: &Part<'_>) {
        self.raw(b" ");
        match part.disposition() {
            Some((disposition, parameters)) => {
                self.raw(b"(");
                self.name(disposition);
                self.raw(b" ");
                self.parameters(Some(parameters));
                self.raw(b")");
            }
            None => self.raw(b"NIL"),
        }
        self.raw(b" ");
        self.languages(part);
        self.raw(b" ");
        self.text(part.location());
    }

    /// Appends the languages: `NIL`, one string, or a list.
    fn languages(&mut self, part: &Part<'_>) {
        let mut languages = part.languages();
        let Some(first) = languages.next() else {
            self.raw(b"NIL");
            return;
        };
        let Some(second) = languages.next() else {
            self.name(first);
            return;
        };
        self.raw(b"(");
        self.name(first);
        for language in std::iter::once(second).chain(languages) {
            self.raw(b" ");
            self.name(language);
        }
        self.raw(b")");
    }

    /// Appends parameters as a list, their names in upper case, or `NIL` if there are none.
    fn parameters(&mut self, parameters: Option<Parameters<'_>>) {
        let mut separator = b"(";
        for parameter in parameters.into_iter().flatten().take(self.room) {
            self.room -= 1;
            self.raw(separator);
            separator = b" ";
            self.name(parameter.name);
            self.raw(b" ");
            self.string(&parameter.value);
        }
        self.raw(if separator == b"(" { b"NIL" } else { b")" });
    }

    /// Appends a name in upper case.
    fn name(&mut self, name: &[u8]) {
        self.string(&unfold(name).to_ascii_uppercase());
    }

    fn text(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.string(&unfold(value)),
            None => self.raw(b"NIL"),
        }
    }

    fn string(&mut self, text: &[u8]) {
        wire::string(self.out, text);
    }

    fn raw(&mut self, octets: &[u8]) {
        self.out.extend_from_slice(octets);
    }
}
