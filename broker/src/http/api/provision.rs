//! What a device asks about itself: its credentials, a challenge, who it is,
//! its licence. The same requests as MQTT has under `provision/SERIAL/request`.
//!
//! Each request is admitted anew, with the device's code or its key, and is
//! answered to whoever sent it and nobody else.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::http::HeaderName;
use axum_extra::headers::HeaderMapExt;
use axum_extra::headers::authorization::{Authorization, Basic, Bearer};
use firstwake::{
    Admission, Answer, Attempt, Declined, NotAdmitted, NotIssued, ProvisionRequest, Refusal,
};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::broker::Broker;
use crate::http::Admitted;
use crate::http::body::Whole;
use crate::http::caller::{admit, source};
use crate::http::problem::{Kind, Problem};

/// What a device says of its board, word for word.
#[derive(Default, Deserialize)]
struct Board<'a> {
    #[serde(borrow)]
    hardware: Option<&'a RawValue>,
}

/// What a device shows.
struct Shown {
    username: Option<String>,
    password: Zeroizing<String>,
}

/// What a device asks about itself (device)
///
/// With its serial and activation code (Basic), or with its key or a signed
/// login (Bearer). docs/devices.md has the requests and their answers.
#[utoipa::path(post, path = "/api/v1/provision", tag = "devices", operation_id = "provision",
    security(("device" = []), ("code" = [])),
    request_body = Option<serde_json::Value>, responses((status = OK, body = serde_json::Value)))]
pub(super) async fn provision(
    State(broker): State<Arc<Broker>>,
    request: Request,
) -> Result<([(HeaderName, &'static str); 2], Vec<u8>), Problem> {
    let (parts, body) = request.into_parts();
    let source = source(&parts);
    let Some(shown) = Shown::by(&parts.headers) else {
        let refusal = Refusal::NoCredentials;
        broker.provisioner.count_turned_away(source, refusal);
        return Err(Problem::new(
            Kind::Unauthenticated,
            "show the serial and its code (Basic), or the key or a signed login (Bearer)",
        ));
    };
    let extensions = parts.extensions.clone();
    let Whole(body) = Whole::from_request(Request::from_parts(parts, body), &broker).await?;
    let asked = ProvisionRequest::parse(&body).map_err(|invalid| {
        Problem::new(Kind::Invalid, invalid.to_string()).with_code("bad_request")
    })?;
    let board: Board<'_> = serde_json::from_slice(&body).unwrap_or_default();
    let attempt = Attempt {
        username: shown.username.as_deref(),
        password: Some(shown.password.as_bytes()),
        source,
        hardware: board.hardware.map(RawValue::get),
    };
    let admission = admit(attempt, &broker).await?;
    Admitted::tell(&extensions, admission.again());
    let answer = answer(admission, &asked, source, &broker).await?;
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, answer.expose_bytes().to_vec()))
}

async fn answer(
    admission: Admission,
    asked: &ProvisionRequest,
    source: IpAddr,
    broker: &Broker,
) -> Result<Answer, Problem> {
    let (provisioner, now) = (&broker.provisioner, broker.clock.now());
    let answered = match admission {
        Admission::Activation(mut activation) => {
            provisioner.issue(&mut activation, asked, source, now).await
        }
        Admission::Device(login) => {
            let Broker { paces, limits, .. } = broker;
            let in_time = paces
                .ask(login.feed(), broker.clock)
                .and_then(|()| paces.publish(login.feed(), limits, broker.clock));
            in_time.map_err(|_| {
                Problem::new(
                    Kind::TooMany,
                    "this device asks too often: one question a second is answered",
                )
            })?;
            provisioner.answer(&login, asked, now).await
        }
        Admission::Operator(_) => {
            let sentence = "this is for devices, not for operators";
            return Err(Problem::new(Kind::Forbidden, sentence));
        }
    };
    answered.map_err(|not| match not {
        NotIssued::Refused(refusal) => Problem::refused(&NotAdmitted::Refused(refusal), now),
        NotIssued::Declined(declined) => {
            Problem::new(kind(declined), declined.to_string()).with_code(declined.as_str())
        }
        NotIssued::Unavailable(error) => Problem::refused(&NotAdmitted::Unavailable(error), now),
    })
}

/// What is wrong with a request of a device that may ask.
fn kind(declined: Declined) -> Kind {
    match declined {
        Declined::ChallengeExpired | Declined::SignatureWrong => Kind::Forbidden,
        Declined::HardwareRequired => Kind::Invalid,
        Declined::SigningDisabled
        | Declined::NoLicence
        | Declined::NotActive
        | Declined::Active => Kind::Conflict,
    }
}

impl Shown {
    fn by(headers: &HeaderMap) -> Option<Self> {
        if let Some(basic) = headers.typed_get::<Authorization<Basic>>() {
            // A serial may have colons, and a code has none.
            let pair = Zeroizing::new(format!("{}:{}", basic.username(), basic.password()));
            let (name, code) = pair.rsplit_once(':')?;
            return Some(Self {
                username: Some(name.to_owned()),
                password: Zeroizing::new(code.to_owned()),
            });
        }
        let bearer = headers.typed_get::<Authorization<Bearer>>()?;
        Some(Self {
            username: None,
            password: Zeroizing::new(bearer.token().to_owned()),
        })
    }
}
