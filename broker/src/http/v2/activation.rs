//! `devices/CODE/activate`: a device's code for its credentials.

use firstwake::feed::Format;
use firstwake::{
    ActivationCode, AnswerFormat, ApiKey, Claimed, DeviceName, OperatorLogin, OperatorToken,
    Refusal, Role, Voucher,
};
use http::header::AUTHORIZATION;

use super::Answer;
use super::caller::Caller;
use super::denied::Denied;
use super::request::Asked;

/// With a code, nobody needs a key. One that came along is a master key, or
/// the device's own, which is then told again; any other counts for nothing.
pub(super) async fn by_code(code: &ActivationCode, asked: &Asked<'_>) -> Result<Answer, Denied> {
    let format = asked.format()?;
    let shown = asked.key();
    let operator = match &shown {
        Some(key) if OperatorToken::parse(key).is_ok() => Some(master(asked).await?),
        None if asked.headers.contains_key(AUTHORIZATION) => Some(master(asked).await?),
        _ => None,
    };
    let key = shown.and_then(|key| ApiKey::parse(&key).ok());
    let voucher = match (&operator, &key) {
        (Some(login), _) => Voucher::Operator(login),
        (None, Some(key)) => Voucher::Key(key),
        (None, None) => Voucher::Nothing,
    };
    hand_over(Claimed::Code(code), voucher, format, asked).await
}

/// By name, only an operator may.
pub(super) async fn by_name(name: &DeviceName, asked: &Asked<'_>) -> Result<Answer, Denied> {
    let format = asked.format()?;
    let login = asked.operator(Role::Operator).await?;
    asked.broker.provisioner.find_device(name).await?;
    let voucher = Voucher::Operator(&login);
    hand_over(Claimed::Device(name), voucher, format, asked).await
}

/// What cannot be a code is nobody's.
pub(super) fn by_no_code(asked: &Asked<'_>) -> Denied {
    let provisioner = &asked.broker.provisioner;
    provisioner.count_turned_away(asked.source, Refusal::Malformed);
    Denied::no_such_device()
}

async fn master(asked: &Asked<'_>) -> Result<OperatorLogin, Denied> {
    match asked.caller().await? {
        Caller::Operator(login) => Ok(login),
        Caller::Device(_) => Err(Denied::unauthorized("send a device's key in X-ApiKey")),
    }
}

async fn hand_over(
    claimed: Claimed<'_>,
    voucher: Voucher<'_>,
    format: Format,
    asked: &Asked<'_>,
) -> Result<Answer, Denied> {
    let wanted = match format {
        Format::Json => AnswerFormat::Json,
        Format::Csv => AnswerFormat::Csv,
    };
    let (source, now) = (asked.source, asked.now);
    let provisioner = &asked.broker.provisioner;
    match provisioner
        .activate(claimed, voucher, wanted, source, now)
        .await
    {
        Ok((admission, answer)) => {
            // An operator that vouches has been admitted itself.
            if !matches!(voucher, Voucher::Operator(_)) {
                asked.is_admitted(admission);
            }
            Ok(Answer::Page(format, answer.expose_bytes().to_vec()))
        }
        Err(not) => {
            asked.take_time(&not).await?;
            Err(Denied::activation(&not))
        }
    }
}
