//! BODY and BODYSTRUCTURE (RFC 3501 §7.4.2).

use crate::{
    content::{Encoding, Parameters},
    header::unfold,
    message::{Kind, Message, Part},
    print,
};

impl Message<'_> {
    /// Appends the envelope as FETCH sends it.
    pub fn envelope(&self, out: &mut Vec<u8>) {
        self.root().envelope().print(out);
    }

    /// Appends the body structure without extension data, as FETCH sends it for `BODY`.
    pub fn body(&self, out: &mut Vec<u8>) {
        print_part(&self.root(), Extension::Leave, out);
    }

    /// Appends the body structure with extension data, as FETCH sends it for `BODYSTRUCTURE`.
    pub fn body_structure(&self, out: &mut Vec<u8>) {
        print_part(&self.root(), Extension::Print, out);
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Extension {
    Print,
    Leave,
}

// Recurses no deeper than parts nest, which MAX_DEPTH limits.
fn print_part(part: &Part<'_>, extension: Extension, out: &mut Vec<u8>) {
    out.push(b'(');
    if part.kind() == Kind::Multipart {
        for child in part.children() {
            print_part(&child, extension, out);
        }
        out.push(b' ');
        print::string(&part.subtype(), out);
        if extension == Extension::Print {
            out.push(b' ');
            print_parameters(part.parameters(), out);
        }
    } else {
        print_single(part, extension, out);
        if extension == Extension::Print {
            out.push(b' ');
            print_text(part.md5(), out);
        }
    }
    if extension == Extension::Print {
        print_extension(part, out);
    }
    out.push(b')');
}

/// Appends what all but multiparts have.
fn print_single(part: &Part<'_>, extension: Extension, out: &mut Vec<u8>) {
    print::string(&part.media_type(), out);
    out.push(b' ');
    print::string(&part.subtype(), out);
    out.push(b' ');
    match part.guessed_charset() {
        Some(charset) => {
            out.extend_from_slice(b"(\"CHARSET\" ");
            print::string(charset, out);
            out.push(b')');
        }
        None => print_parameters(part.parameters(), out),
    }
    out.push(b' ');
    print_text(part.id(), out);
    out.push(b' ');
    print_text(part.description(), out);
    out.push(b' ');
    match part.encoding() {
        Encoding::SevenBit => out.extend_from_slice(b"\"7BIT\""),
        _ => print::string(&part.encoding_name(), out),
    }
    out.push(b' ');
    print::number(part.body_octets(), out);
    if let Some(message) = part.message() {
        out.push(b' ');
        message.envelope().print(out);
        out.push(b' ');
        print_part(&message, extension, out);
    }
    if matches!(part.kind(), Kind::Text | Kind::Message) {
        out.push(b' ');
        print::number(part.body_lines(), out);
    }
}

/// Appends disposition, language and location.
fn print_extension(part: &Part<'_>, out: &mut Vec<u8>) {
    out.push(b' ');
    match part.disposition() {
        Some((disposition, parameters)) => {
            out.push(b'(');
            print::string(&disposition.to_ascii_uppercase(), out);
            out.push(b' ');
            print_parameters(Some(parameters), out);
            out.push(b')');
        }
        None => out.extend_from_slice(b"NIL"),
    }
    out.push(b' ');
    print_languages(part, out);
    out.push(b' ');
    print_text(part.location(), out);
}

/// Appends the languages: `NIL`, one string, or a list.
fn print_languages(part: &Part<'_>, out: &mut Vec<u8>) {
    let mut languages = part.languages();
    let Some(first) = languages.next() else {
        out.extend_from_slice(b"NIL");
        return;
    };
    let Some(second) = languages.next() else {
        print::string(&first.to_ascii_uppercase(), out);
        return;
    };
    out.push(b'(');
    print::string(&first.to_ascii_uppercase(), out);
    for language in std::iter::once(second).chain(languages) {
        out.push(b' ');
        print::string(&language.to_ascii_uppercase(), out);
    }
    out.push(b')');
}

/// Appends parameters as a list, their names in upper case, or `NIL` if there are none.
fn print_parameters(parameters: Option<Parameters<'_>>, out: &mut Vec<u8>) {
    let mut separator = b'(';
    for parameter in parameters.into_iter().flatten() {
        out.push(separator);
        separator = b' ';
        print::string(&parameter.name.to_ascii_uppercase(), out);
        out.push(b' ');
        print::string(&parameter.value, out);
    }
    if separator == b'(' {
        out.extend_from_slice(b"NIL");
    } else {
        out.push(b')');
    }
}

fn print_text(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value {
        Some(value) => print::string(&unfold(value), out),
        None => out.extend_from_slice(b"NIL"),
    }
}
