//! The service beside a broker that issues nothing by itself.
//!
//! Such a broker checks a device's password and knows nothing of credentials:
//! somebody on it has to answer. This is the least such a service can be. It
//! hears every request, and answers from a counter, with no checks and no disk;
//! so what a broker with it takes is the broker's own. It must never grow a
//! feature.

use std::net::SocketAddr;

use mqtt_protocol_core::mqtt::connection::{PacketData, RawPacket};
use mqtt_protocol_core::mqtt::packet::v3_1_1::Publish;
use mqtt_protocol_core::mqtt::packet::{PacketType, Qos};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use crate::device::write;
use crate::outcome::Mishap;
use crate::route::Route;
use crate::service::{Service, ServiceLogin};
use crate::tls::Transport;
use crate::wire;

/// A service that is subscribed to every device's requests.
pub struct Responder {
    service: Service,
    issued: u64,
}

/// Why nobody answers any more.
#[derive(Debug, thiserror::Error)]
#[error("the responder got no further: {0:?}")]
pub struct ResponderError(Mishap);

impl Responder {
    /// Logs in and subscribes; requests are heard from when this returns.
    pub async fn subscribe(
        broker: SocketAddr,
        login: &ServiceLogin,
    ) -> Result<Self, ResponderError> {
        let route = Route::new(broker, Transport::Plain);
        let service = Service::subscribe(&route, login, "provision/+/request", Qos::AtMostOnce);
        Ok(Self {
            service: service.await.map_err(ResponderError)?,
            issued: 0,
        })
    }

    /// Answers until the broker closes, which is an error, or it is dropped.
    pub async fn serve(mut self) -> Result<(), ResponderError> {
        loop {
            self.answer_what_came().await.map_err(ResponderError)?;
        }
    }

    /// Waits for a packet; answers it, and all that came along, in one write.
    async fn answer_what_came(&mut self) -> Result<(), Mishap> {
        let Service { stream, buffers } = &mut self.service;
        let mut next = Some(wire::next_packet(stream, buffers).await?);
        while let Some(packet) = next {
            answer(packet, &mut self.issued, &mut buffers.out)?;
            next = buffers.cut_packet()?;
        }
        wire::send(stream, buffers).await
    }
}

/// Writes the answer to a request; there is nothing else to be said.
fn answer(packet: RawPacket, issued: &mut u64, out: &mut Vec<u8>) -> Result<(), Mishap> {
    if packet.packet_type() != PacketType::Publish as u8 {
        return Ok(());
    }
    let flags = packet.flags();
    let PacketData::Publish(body) = packet.data else {
        return Ok(());
    };
    let (request, _) = Publish::parse(flags, body).map_err(|_| Mishap::Malformed)?;
    let device = request.topic_name().strip_suffix("request");
    let topic = format!("{}response", device.ok_or(Mishap::Malformed)?);
    *issued += 1;
    let payload = format!(r#"{{"apikey":"{issued:048}","feed_id":{issued},"datastreams":[]}}"#);
    write(out, response(&topic, *issued, &payload))
}

/// At QoS 1, as the device subscribed. The broker has long acknowledged the
/// packet id when it comes round again.
fn response(topic: &str, number: u64, payload: &str) -> Result<Publish, MqttError> {
    let id = u16::try_from(number % u64::from(u16::MAX)).unwrap_or(0) + 1;
    Publish::builder()
        .topic_name(topic)?
        .qos(Qos::AtLeastOnce)
        .packet_id(id)
        .payload(payload)
        .build()
}

#[cfg(test)]
mod tests {
    use mqtt_protocol_core::mqtt::common::Cursor;
    use mqtt_protocol_core::mqtt::connection::{PacketBuildResult, PacketBuilder};

    use super::*;

    fn said_to(bytes: &[u8], issued: u64) -> Result<Vec<u8>, Mishap> {
        let mut out = Vec::new();
        match PacketBuilder::new().feed(&mut Cursor::new(bytes)) {
            PacketBuildResult::Complete(packet) => answer(packet, &mut { issued }, &mut out)?,
            other => panic!("{other:?}"),
        }
        Ok(out)
    }

    #[test]
    fn a_request_gets_an_answer_of_its_own() {
        let request = b"\x30\x18\x00\x16provision/a%2B/request";
        let key = format!("{:048}", 65_535);
        let payload = format!(r#"{{"apikey":"{key}","feed_id":65535,"datastreams":[]}}"#);
        let mut expected = b"\x32\x00\x00\x17provision/a%2B/response\x00\x01".to_vec();
        expected[1] = u8::try_from(2 + 23 + 2 + payload.len()).expect("short");
        expected.extend_from_slice(payload.as_bytes());
        assert_eq!(said_to(request, 65_534), Ok(expected));
    }

    #[test]
    fn nothing_else_gets_one() {
        assert_eq!(said_to(&[0x40, 2, 0, 1], 0), Ok(vec![]));
        assert_eq!(said_to(b"\x30\x03\x00\x01t", 0), Err(Mishap::Malformed));
    }
}
