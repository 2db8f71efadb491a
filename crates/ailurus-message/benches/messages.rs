//! What reading a message costs: 200 messages of realistic mail in memory, in CRLF form.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use ailurus_message::{Message, PartDecoder, Scanner};
use ailurus_testkit::corpus::Corpus;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

fn mail() -> Vec<Vec<u8>> {
    let mut corpus = Corpus::new(1);
    (0..200).map(|_| corpus.message().lf.replace('\n', "\r\n").into_bytes()).collect()
}

fn messages(criterion: &mut Criterion) {
    let mail = mail();
    let mut group = criterion.benchmark_group("200 messages");
    group.throughput(Throughput::Bytes(mail.iter().map(|text| text.len() as u64).sum()));
    let mut each = |name: &str, work: &mut dyn FnMut(&[u8], &mut Vec<u8>)| {
        let mut out = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for text in &mail {
                    out.clear();
                    work(black_box(text), &mut out);
                    black_box(&out);
                }
            });
        });
    };
    each("ENVELOPE", &mut |text, out| Message::parse(text).envelope(out));
    each("BODYSTRUCTURE", &mut |text, out| Message::parse(text).body_structure(out));
    each("scan in pieces", &mut |text, out| {
        let mut scanner = Scanner::new();
        text.chunks(4096).for_each(|piece| scanner.push(piece));
        scanner.finish().body(out);
    });
    each("decode all texts", &mut |text, out| {
        let message = Message::parse(text);
        let mut decoded = String::new();
        for part in message.parts() {
            let body = part.body_extent();
            let at = |offset| usize::try_from(offset).expect("it is in memory");
            let mut decoder = PartDecoder::new(&part);
            decoder.push(&text[at(body.start)..at(body.end)], &mut decoded);
            decoder.finish(&mut decoded);
        }
        out.extend_from_slice(decoded.as_bytes());
    });
    group.finish();
}

criterion_group!(benches, messages);
criterion_main!(benches);
