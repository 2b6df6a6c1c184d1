//! Bodies of values: whatever comes is read as something valid, or refused in
//! a sentence; what was read is read again from what is shown of it.

#![no_main]

use firstwake::feed::{Body, DatastreamPage, Format, NotRead};
use firstwake::{DatastreamId, Timestamp};

const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let format = match kind & 4 {
        0 => Format::Json,
        _ => Format::Csv,
    };
    let id = DatastreamId::parse("temperature").expect("valid");
    let body = match kind & 3 {
        0 | 1 => Body::Feed,
        2 => Body::Datastream(&id),
        _ => Body::Datapoints(&id),
    };
    match body.read(bytes, format, NOW) {
        Ok(values) => {
            assert!(!values.is_empty() && values.len() <= 500);
            for current in values {
                let page = DatastreamPage {
                    id: &current.datastream,
                    tags: &[],
                    unit: None,
                    current: Some(&current),
                };
                let body = Body::Datastream(&current.datastream);
                let again = body.read(&page.to_json(), Format::Json, NOW);
                assert_eq!(again.as_deref(), Ok(&[current.clone()][..]));
            }
        }
        Err(NotRead::Malformed(said) | NotRead::Invalid(said)) => {
            assert!((1..400).contains(&said.len()), "{said}");
        }
    }
});
