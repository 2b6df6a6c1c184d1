//! MQTT 5's properties of a message, from the wire and to it.

use mqtt_protocol_core::mqtt::packet::{
    ContentType, CorrelationData, MessageExpiryInterval, PayloadFormat, PayloadFormatIndicator,
    Property, ResponseTopic, SubscriptionIdentifier, UserProperty,
};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use crate::mqtt::packet::Properties;

/// Reads what a message or a will carries on.
pub(crate) fn read(wire: &[Property]) -> Properties {
    let mut properties = Properties::default();
    for property in wire {
        match property {
            Property::PayloadFormatIndicator(p) => properties.payload_format = Some(p.val()),
            Property::MessageExpiryInterval(p) => properties.message_expiry = Some(p.val()),
            Property::ContentType(p) => properties.content_type = Some(p.val().to_owned()),
            Property::ResponseTopic(p) => properties.response_topic = Some(p.val().to_owned()),
            Property::CorrelationData(p) => properties.correlation = Some(p.val().to_vec()),
            Property::UserProperty(p) => {
                properties
                    .user
                    .push((p.key().to_owned(), p.val().to_owned()));
            }
            _ => {}
        }
    }
    properties
}

/// MQTT 5, 1.5.4: no string holds U+0000.
pub(crate) fn hold_no_nul(wire: &[Property]) -> bool {
    wire.iter().all(|property| match property {
        Property::ContentType(p) => !p.val().contains('\0'),
        Property::ResponseTopic(p) => !p.val().contains('\0'),
        Property::ReasonString(p) => !p.val().contains('\0'),
        Property::UserProperty(p) => !p.key().contains('\0') && !p.val().contains('\0'),
        _ => true,
    })
}

/// Writes them, with the seconds that are left of the message's time and the
/// identifiers of the subscriptions it answers.
pub(crate) fn write(
    properties: &Properties,
    expiry: Option<u32>,
    subscriptions: &[u32],
) -> Result<Vec<Property>, MqttError> {
    let mut wire: Vec<Property> = Vec::new();
    if let Some(format) = properties.payload_format {
        let format = if format == 1 {
            PayloadFormat::String
        } else {
            PayloadFormat::Binary
        };
        wire.push(PayloadFormatIndicator::new(format)?.into());
    }
    if let Some(seconds) = expiry {
        wire.push(MessageExpiryInterval::new(seconds)?.into());
    }
    if let Some(text) = &properties.content_type {
        wire.push(ContentType::new(text)?.into());
    }
    if let Some(text) = &properties.response_topic {
        wire.push(ResponseTopic::new(text)?.into());
    }
    if let Some(bytes) = &properties.correlation {
        wire.push(CorrelationData::new(bytes.clone())?.into());
    }
    for (key, value) in &properties.user {
        wire.push(UserProperty::new(key, value)?.into());
    }
    for id in subscriptions {
        wire.push(SubscriptionIdentifier::new(*id)?.into());
    }
    Ok(wire)
}
