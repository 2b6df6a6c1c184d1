//! docs/api.md: what it tells to type works.

use std::process::Command;

use serde_json::Value;

use crate::support::{PASSWORD, TestBroker};

#[test]
fn what_the_page_tells_to_type_works() {
    let broker = TestBroker::with_http();
    broker.add_operator("boss", "admin", &[]);
    let page = include_str!("../../../docs/api.md");
    let blocks = page.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|rest| Some(rest.split_once("```")?.0));
    let script: String = ["set -euxo pipefail\n"].into_iter().chain(blocks).collect();
    assert!(script.matches("curl").count() > 30, "{script}");
    let done = Command::new("bash")
        .args(["-c", &script])
        .env("URL", format!("http://{}/api/v1", broker.listens("http")))
        .env("PASSWORD", PASSWORD)
        .output()
        .expect("a shell");
    let trace = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{trace}");
    let answers = serde_json::Deserializer::from_slice(&done.stdout).into_iter();
    let answers: Vec<Value> = answers.map(|it| it.expect("JSON")).collect();
    // The same request twice made one product.
    let [.., first, again] = answers.as_slice() else {
        panic!("nothing was said");
    };
    assert_eq!(
        (first["product"]["name"].as_str(), first),
        (Some("lamp"), again)
    );
}
