//! Seats, leases and licence tokens.

use super::signing::{SERIAL, after};
use super::*;
use crate::licence::{LicenceError, LicenceToken};

const HOUR: Duration = Duration::from_secs(3600);

impl World {
    async fn license(&self, seats: Option<u64>, lease: Option<Duration>) {
        self.set(ProductChange {
            seats: Some(seats),
            lease: Some(lease),
            ..ProductChange::default()
        })
        .await;
    }

    async fn tell(&self, login: &DeviceLogin, request: &str, now: Timestamp) -> serde_json::Value {
        let request = ProvisionRequest::parse(request.as_bytes()).expect("a request");
        let answer = match self.door.answer(login, &request, now).await {
            Ok(answer) => answer,
            Err(error) => error.answer(),
        };
        serde_json::from_slice(answer.expose_bytes()).expect("JSON")
    }

    async fn issue_to(&self, serial: &str) -> Result<String, Refusal> {
        let mut activation = match self.admit(serial, &code(SECRET, serial)).await {
            Ok(Admission::Activation(activation)) => activation,
            Err(NotAdmitted::Refused(refusal)) => return Err(refusal),
            other => panic!("{other:?}"),
        };
        let request = ProvisionRequest::default();
        match self.door.issue(&mut activation, &request, HERE, NOW).await {
            Ok(answer) => {
                let answer: serde_json::Value =
                    serde_json::from_slice(answer.expose_bytes()).expect("JSON");
                Ok(answer["apikey"].as_str().expect("a key").to_owned())
            }
            Err(NotIssued::Refused(refusal)) => Err(refusal),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn there_are_so_many_seats() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.register(&["S2", "S3"]).await;
    world.license(Some(2), None).await;
    world.issue_to(SERIAL).await.expect("the first");
    world.issue_to("S2").await.expect("the second");
    assert_eq!(world.issue_to("S3").await, Err(Refusal::NoSeats));
    world.issue_to("S2").await.expect("who has a seat keeps it");

    world.change(Transition::Revoke).await;
    world.issue_to("S3").await.expect("one is free again");
    assert!(world.event_names().await.contains(&"activation_refused"));
}

#[tokio::test]
async fn a_race_for_the_last_seat_has_one_winner() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let serials: Vec<String> = (0..20).map(|n| format!("R{n}")).collect();
    let names: Vec<&str> = serials.iter().map(String::as_str).collect();
    world.register(&names).await;
    world.license(Some(3), None).await;
    let world = Arc::new(world);
    let mut tasks = tokio::task::JoinSet::new();
    for serial in serials {
        let world = Arc::clone(&world);
        tasks.spawn(async move { world.issue_to(&serial).await.is_ok() });
    }
    let seated = tasks.join_all().await;
    assert_eq!(seated.into_iter().filter(|seated| *seated).count(), 3);
}

#[tokio::test]
async fn a_signed_login_takes_a_seat_too() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.license(Some(0), None).await;
    let token = world.derived().login(NOW, "1");
    assert_eq!(world.turned_away(&token, NOW).await, Refusal::NoSeats);
    world.license(Some(1), None).await;
    world.sign_in(&token, NOW).await.expect("there is one now");
}

#[tokio::test]
async fn each_login_renews_the_lease() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.license(None, Some(HOUR)).await;
    let device = world.derived();
    let millis = |minutes: u64| minutes * 60_000;
    let sign = async |minutes| {
        let now = after(millis(minutes));
        world.sign_in(&device.login(now, "1"), now).await.map(drop)
    };
    assert_eq!(sign(0).await, Ok(()));
    assert_eq!(sign(59).await, Ok(()));
    assert_eq!(sign(118).await, Ok(()));
    let expired = Err(NotAdmitted::Refused(Refusal::LeaseExpired));
    assert_eq!(sign(178).await, expired);
    world.change(Transition::Renew).await;
    assert_eq!(sign(179).await, Ok(()));
    let names = world.event_names().await;
    let renewed = names
        .iter()
        .filter(|name| **name == "lease_renewed")
        .count();
    assert_eq!(renewed, 4);
    assert!(names.contains(&"lease_reopened"));

    // With an API key the same; a product that leases no more lets it in.
    world.change(Transition::Reset).await;
    let mut activation = world.activation().await;
    let key = world.key(&mut activation).await;
    assert!(world.is_in(&key).await);
    let late = Attempt {
        username: None,
        password: Some(key.as_bytes()),
        source: HERE,
        hardware: None,
    };
    let refused = world.door.admit(late, after(millis(60))).await;
    assert_eq!(
        refused.err(),
        Some(NotAdmitted::Refused(Refusal::LeaseExpired))
    );
    world.license(None, None).await;
    assert!(world.door.admit(late, after(millis(60))).await.is_ok());
}

#[tokio::test]
async fn a_lease_of_before_does_not_count() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let device = world.derived();
    world.license(None, Some(Duration::from_secs(2))).await;
    world
        .sign_in(&device.login(NOW, "1"), NOW)
        .await
        .expect("signed");
    world.license(None, None).await;
    let again = ProductChange {
        lease: Some(Some(HOUR)),
        ..ProductChange::default()
    };
    let changed = world
        .door
        .change_product(&world.product, again, after(10_000))
        .await;
    changed.expect("changed");
    let at = after(20_000);
    let login = world.sign_in(&device.login(at, "1"), at).await;
    let login = login.expect("its lease is one of before");
    // And one that was just opened again is as long as the product says.
    world.change(Transition::Renew).await;
    let answer = world.tell(&login, r#"{"ask":"licence"}"#, at).await;
    assert_eq!(answer["expires_at"], at.plus(HOUR).to_string());
}

#[tokio::test]
async fn a_device_that_stays_connected_does_not_run_out() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.license(None, Some(HOUR)).await;
    let device = world.derived();
    let login = world.sign_in(&device.login(NOW, "1"), NOW).await;
    let feed = login.expect("signed").feed();
    let renew = async |minutes: u64| {
        let renewed = world.door.renew_lease(feed, after(minutes * 60_000)).await;
        renewed.expect("done");
    };
    renew(30).await;
    renew(80).await;
    let at = after(130 * 60_000);
    world
        .sign_in(&device.login(at, "1"), at)
        .await
        .expect("it ends at 140");
    // What has run out is not renewed by that.
    renew(300).await;
    let at = after(300 * 60_000);
    let refusal = world.turned_away(&device.login(at, "1"), at).await;
    assert_eq!(refusal, Refusal::LeaseExpired);
}

#[tokio::test]
async fn a_licence_token_is_for_active_devices_of_licensed_products() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let login = world
        .sign_in(&world.derived().login(NOW, "1"), NOW)
        .await
        .expect("signed");
    let ask = r#"{"ask":"licence","nonce":"n1"}"#;
    let answer = world.tell(&login, ask, NOW).await;
    assert_eq!(answer["error"]["code"], "no_licence");

    world.license(None, Some(HOUR)).await;
    let at = after(1000);
    let login = world
        .sign_in(&world.derived().login(at, "1"), at)
        .await
        .expect("signed");
    let answer = world.tell(&login, ask, at).await;
    assert_eq!(answer["nonce"], "n1");
    let key = world.door.licence_key().await.expect("made");
    let text = answer["licence"].as_str().expect("a token");
    let licence = LicenceToken::verify(text, &key, at).expect("right");
    assert_eq!(licence.serial.as_str(), SERIAL);
    assert_eq!(licence.expires_at, at.plus(HOUR));
    assert_eq!(answer["expires_at"], licence.expires_at.to_string());
    let ended = LicenceToken::verify(text, &key, at.plus(HOUR));
    assert_eq!(ended, Err(LicenceError::Expired(licence.expires_at)));

    world.tell(&login, ask, at).await;
    let names = world.event_names().await;
    let issued = names
        .iter()
        .filter(|name| **name == "licence_issued")
        .count();
    assert_eq!(issued, 1, "folded");
    world.change(Transition::Suspend).await;
    let answer = world.tell(&login, ask, at).await;
    assert_eq!(answer["error"]["code"], "suspended");
}

#[tokio::test]
async fn the_licence_key_stays() {
    let registry = Arc::new(Memory::default());
    let entropy = Arc::new(Counting::default());
    let sealing = SealingKey::generate(&*entropy);
    let start = async || {
        Provisioner::start(
            Arc::clone(&registry) as _,
            sealing.clone(),
            Arc::clone(&entropy) as _,
        )
        .await
        .expect("it starts")
    };
    let (one, two) = (start().await, start().await);
    let key = one.licence_key().await.expect("made");
    assert_eq!(two.licence_key().await, Ok(key), "both of one registry");
    assert_eq!(start().await.licence_key().await, Ok(key));
}

#[tokio::test]
async fn a_device_is_told_who_it_is_taken_for() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let login = world
        .sign_in(&world.derived().login(NOW, "1"), NOW)
        .await
        .expect("signed");
    for request in ["", r#"{"ask":"identity"}"#] {
        let answer = world.tell(&login, request, NOW).await;
        assert_eq!(answer["serial"], SERIAL);
        assert_eq!(answer["proof"], "HS256");
        assert_eq!(answer["status"], "active");
        assert!(answer["feed_id"].is_number() && answer.get("apikey").is_none());
        assert_eq!(answer["pepper"].as_str().map(str::len), Some(64));
    }
    let answer = world.tell(&login, r#"{"ask":"challenge"}"#, NOW).await;
    assert_eq!(answer["error"]["code"], "active");
}
