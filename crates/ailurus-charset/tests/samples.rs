//! Texts that others encoded (`fixtures/charsets`), decoded here.

use ailurus_charset::{Charset, Decoder};
use std::fs;

struct Sample {
    charset: String,
    by: String,
    octets: Vec<u8>,
    text: String,
}

fn samples() -> Vec<Sample> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/charsets/samples.txt");
    let text = fs::read_to_string(file).expect("the samples are there");
    let sample = |line: &str| {
        let fields: Vec<_> = line.split('\t').collect();
        let [charset, by, hex, text] = fields[..] else { panic!("{line}") };
        let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("it is hexadecimal");
        let octets = (0..hex.len()).step_by(2).map(octet).collect();
        Sample { charset: charset.into(), by: by.into(), octets, text: text.into() }
    };
    text.lines().map(sample).collect()
}

#[test]
fn all_samples_decode() {
    for Sample { charset, by, octets, text } in samples() {
        let charset = Charset::for_label(charset.as_bytes()).expect("the label is known");
        let mut whole = String::new();
        charset.decode(&octets, &mut whole);
        assert_eq!(whole, text, "{charset:?} by {by}");
        for size in 1..=5 {
            let mut pieces = String::new();
            let mut decoder = Decoder::new(charset);
            for piece in octets.chunks(size) {
                decoder.push(piece, &mut pieces);
            }
            decoder.finish(&mut pieces);
            assert_eq!(pieces, text, "{charset:?} by {by} in pieces of {size}");
        }
    }
}

#[test]
fn every_charset_has_a_sample() {
    let samples = samples();
    for charset in Charset::all() {
        assert!(samples.iter().any(|sample| sample.charset == charset.name()), "{charset:?}");
        for label in charset.labels() {
            assert_eq!(Charset::for_label(label.as_bytes()), Some(charset), "{label}");
            assert_eq!(Charset::for_label(label.replace('-', "_").as_bytes()), Some(charset), "{label}");
            assert_eq!(Charset::for_label(format!("x-{label}").as_bytes()), Some(charset), "x-{label}");
        }
    }
}
