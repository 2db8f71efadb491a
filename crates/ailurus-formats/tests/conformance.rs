//! The formats that the conformance suite is run over; see `ailurus_testkit::conformance`.

use ailurus_testkit::conformance::{Format, mbox_delivery};

ailurus_testkit::conformance! {
    unix: Format { delivery: Some(mbox_delivery), ..Format::of("unix") };
    mbx: Format::of("mbx");
    tenex: Format::of("tenex");
    mtx: Format::of("mtx");
}
