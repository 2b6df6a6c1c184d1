//! HTTP, with `ureq`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use ureq::http::{Request, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, AsSendBody};

use crate::code::ActivationCode;
use crate::credentials::Credentials;
use crate::server::{DATASTREAM, No, PATIENCE, Server, VALUE};

/// A server's HTTP port.
pub(crate) struct OverHttp {
    base: String,
    agent: Agent,
}

impl OverHttp {
    /// `http://HOST:PORT` or `https://HOST:PORT`, with a file for an authority
    /// of one's own.
    pub(crate) fn new(base: String, authority: Option<&Path>) -> Result<Self> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = authority {
            let pem = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            tls = tls.root_certs(RootCerts::new_with_certs(&[Certificate::from_pem(&pem)?]));
        }
        let config = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(PATIENCE)))
            .http_status_as_error(false)
            .tls_config(tls.build())
            .build();
        Ok(Self {
            base,
            agent: config.into(),
        })
    }

    fn ask(&self, request: Request<impl AsSendBody>) -> Result<String, No> {
        // What the library says of an error may have the address in it, and so
        // the code.
        let away = |_| No::Later("no answer".to_owned());
        let mut reply = self.agent.run(request).map_err(away)?;
        let text = reply.body_mut().read_to_string().map_err(away)?;
        match reply.status() {
            StatusCode::OK => Ok(text),
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => Err(No::Unknown),
            // Of a 403, the words say which of two it is.
            status
                if status == StatusCode::TOO_MANY_REQUESTS
                    || status.is_server_error()
                    || text.contains("too many requests") =>
            {
                Err(No::Later(format!("the server is busy ({status})")))
            }
            status => Err(No::Stop(format!("{status}: {text}"))),
        }
    }
}

impl Server for OverHttp {
    fn activate(&self, code: &ActivationCode) -> Result<String, No> {
        let code = code.expose();
        // Without Accept and suffix, the answer is JSON.
        let request = Request::get(format!("{}/v2/devices/{code}/activate", self.base)).body(());
        self.ask(request.map_err(|_| wrong_address())?)
    }

    fn send(&self, known: &Credentials) -> Result<(), No> {
        let values = serde_json::json!({
            "version": "1.0.0",
            "datastreams": [{ "id": DATASTREAM, "current_value": VALUE }],
        });
        let request = Request::put(format!("{}/v2/feeds/{}.json", self.base, known.feed_id))
            .header("X-ApiKey", &known.apikey)
            .header("Content-Type", "application/json")
            .body(values.to_string());
        self.ask(request.map_err(|_| wrong_address())?).map(drop)
    }
}

fn wrong_address() -> No {
    No::Stop("this address and this code are no address of HTTP".to_owned())
}
