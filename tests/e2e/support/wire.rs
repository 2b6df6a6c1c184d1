//! MQTT packets as bytes, written down once for each version.
//!
//! Nothing here comes from a library: what a test expects on the wire must not
//! be made by the code that the server makes it with.

/// A protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V31,
    V311,
    V5,
}

impl Version {
    pub(crate) const ALL: [Self; 3] = [Self::V31, Self::V311, Self::V5];

    pub(crate) fn is_5(self) -> bool {
        self == Self::V5
    }

    /// The properties where version 5 has some; nothing elsewhere.
    fn properties(self, properties: &[u8]) -> Vec<u8> {
        match self {
            Self::V5 => [&variable(properties.len()), properties].concat(),
            _ => Vec::new(),
        }
    }

    /// A CONNACK of this code, without properties.
    pub(crate) fn connack(self, code: u8) -> Vec<u8> {
        match self {
            Self::V5 => vec![0x20, 3, 0, code, 0],
            _ => vec![0x20, 2, 0, code],
        }
    }

    /// A CONNACK that tells somebody who proved a secret why not.
    pub(crate) fn connack_because(self, code: u8, reason: &str) -> Vec<u8> {
        match self {
            Self::V5 => {
                let reason = [vec![0x1f], text(reason)].concat();
                packet(0x20, &[vec![0, code], self.properties(&reason)].concat())
            }
            _ => self.connack(code),
        }
    }

    /// A SUBSCRIBE with a quality, or version 5's options, for each filter.
    pub(crate) fn subscribe(self, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
        self.subscribe_with(id, &[], filters)
    }

    pub(crate) fn subscribe_with(
        self,
        id: u16,
        properties: &[u8],
        filters: &[(&str, u8)],
    ) -> Vec<u8> {
        let mut body = [number(id), self.properties(properties)].concat();
        for (filter, options) in filters {
            body.extend(text(filter));
            body.push(*options);
        }
        packet(0x82, &body)
    }

    pub(crate) fn suback(self, id: u16, codes: &[u8]) -> Vec<u8> {
        let body = [number(id), self.properties(&[]), codes.to_vec()].concat();
        packet(0x90, &body)
    }

    pub(crate) fn unsubscribe(self, id: u16, filters: &[&str]) -> Vec<u8> {
        let mut body = [number(id), self.properties(&[])].concat();
        filters.iter().for_each(|filter| body.extend(text(filter)));
        packet(0xa2, &body)
    }

    pub(crate) fn unsuback(self, id: u16, codes: &[u8]) -> Vec<u8> {
        let codes = if self.is_5() { codes } else { &[] };
        let body = [number(id), self.properties(&[]), codes.to_vec()].concat();
        packet(0xb0, &body)
    }

    /// A PUBLISH; quality 0 has no id.
    pub(crate) fn publish(self, topic: &str, qos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
        self.publish_with(0x30 | qos << 1, topic, id, &[], payload)
    }

    pub(crate) fn publish_with(
        self,
        first: u8,
        topic: &str,
        id: u16,
        properties: &[u8],
        payload: &[u8],
    ) -> Vec<u8> {
        let mut body = text(topic);
        if first & 0b110 != 0 {
            body.extend(number(id));
        }
        body.extend(self.properties(properties));
        body.extend(payload);
        packet(first, &body)
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP (`first` says which) as the server
    /// writes it: version 5 with its reason code, which PUBREL goes without.
    pub(crate) fn acknowledgement(self, first: u8, id: u16, reason: u8) -> Vec<u8> {
        let mut body = number(id);
        if self.is_5() && first != PUBREL {
            body.push(reason);
        }
        packet(first, &body)
    }

    /// The same with a reason in words.
    pub(crate) fn farewell_because(self, reason: u8, words: &str) -> Option<Vec<u8>> {
        let words = [vec![0x1f], text(words)].concat();
        let body = [vec![reason], self.properties(&words)].concat();
        self.is_5().then(|| packet(0xe0, &body))
    }

    /// What a peer is told before the server closes: nothing before version 5.
    pub(crate) fn farewell(self, reason: u8) -> Option<Vec<u8>> {
        self.is_5().then(|| vec![0xe0, 1, reason])
    }
}

pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;
pub(crate) const PINGREQ: [u8; 2] = [0xc0, 0];
pub(crate) const PINGRESP: [u8; 2] = [0xd0, 0];
pub(crate) const DISCONNECT: [u8; 2] = [0xe0, 0];

/// A CONNECT, field by field.
#[derive(Clone, Debug)]
pub(crate) struct Connect<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    /// Flags (quality and retain, as in CONNECT), topic, payload.
    pub(crate) will: Option<(u8, &'a str, &'a [u8])>,
    pub(crate) properties: &'a [u8],
    pub(crate) will_properties: &'a [u8],
}

impl<'a> Connect<'a> {
    pub(crate) fn new(username: &'a str, password: &'a str) -> Self {
        Self {
            client_id: username,
            clean: true,
            keep_alive: 60,
            username: Some(username),
            password: Some(password),
            will: None,
            properties: &[],
            will_properties: &[],
        }
    }

    pub(crate) fn bytes(&self, version: Version) -> Vec<u8> {
        match version {
            Version::V31 => self.bytes_as("MQIsdp", 3, version),
            Version::V311 => self.bytes_as("MQTT", 4, version),
            Version::V5 => self.bytes_as("MQTT", 5, version),
        }
    }

    /// With any protocol name and level.
    pub(crate) fn bytes_as(&self, name: &str, level: u8, version: Version) -> Vec<u8> {
        let mut flags = u8::from(self.clean) << 1;
        let mut fields = text(self.client_id);
        if let Some((will, topic, payload)) = self.will {
            flags |= 0b100 | will;
            fields.extend(version.properties(self.will_properties));
            fields.extend(text(topic));
            fields.extend(data(payload));
        }
        if let Some(username) = self.username {
            flags |= 0b1000_0000;
            fields.extend(text(username));
        }
        if let Some(password) = self.password {
            flags |= 0b0100_0000;
            fields.extend(text(password));
        }
        let mut body = text(name);
        body.extend([level, flags]);
        body.extend(number(self.keep_alive));
        body.extend(version.properties(self.properties));
        body.extend(fields);
        packet(0x10, &body)
    }
}

/// A packet that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) first: u8,
    pub(crate) body: Vec<u8>,
}

/// A PUBLISH that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) first: u8,
    pub(crate) topic: String,
    pub(crate) id: Option<u16>,
    pub(crate) properties: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Publish {
    pub(crate) fn qos(&self) -> u8 {
        self.first >> 1 & 3
    }

    pub(crate) fn retain(&self) -> bool {
        self.first & 1 == 1
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).expect("the payload is JSON")
    }
}

impl Packet {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        packet(self.first, &self.body)
    }

    /// Reads a PUBLISH. Property blocks are short here: one byte of length.
    pub(crate) fn publish(&self, version: Version) -> Option<Publish> {
        if self.first & 0xf0 != 0x30 {
            return None;
        }
        let two = |at: usize| u16::from_be_bytes([self.body[at], self.body[at + 1]]);
        let mut at = 2 + usize::from(two(0));
        let topic = String::from_utf8(self.body[2..at].to_vec()).expect("UTF-8");
        let id = (self.first & 0b110 != 0).then(|| {
            at += 2;
            two(at - 2)
        });
        let mut properties = Vec::new();
        if version.is_5() {
            let end = at + 1 + usize::from(self.body[at]);
            assert!(self.body[at] < 0x80, "a long property block");
            properties = self.body[at + 1..end].to_vec();
            at = end;
        }
        Some(Publish {
            first: self.first,
            topic,
            id,
            properties,
            payload: self.body[at..].to_vec(),
        })
    }
}

/// A packet of any kind.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], variable(body.len()).as_slice(), body].concat()
}

/// MQTT's string: a length and the bytes.
pub(crate) fn text(text: &str) -> Vec<u8> {
    data(text.as_bytes())
}

fn data(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("MQTT's strings are short");
    [&number(length), bytes].concat()
}

fn number(number: u16) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn variable(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = if length > 127 { 0x80 } else { 0 };
        bytes.push((length % 128) as u8 | more);
        length /= 128;
        if length == 0 {
            return bytes;
        }
    }
}
