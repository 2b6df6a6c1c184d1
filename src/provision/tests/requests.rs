//! Requests to others' servers: once each, in nearly any order, for what was
//! signed.

use super::signing::{Author, SERIAL, after};
use super::*;
use crate::signed::{Audience, RequestClaims, RequestDigest};

/// The server that devices ask.
const SHOP: &str = "https://shop.example";

pub(super) fn shop() -> Audience {
    SHOP.parse().expect("a server's name")
}

impl Author {
    fn request(&self, counter: u64, request: RequestDigest) -> String {
        self.signer.request(&RequestClaims {
            login: self.claims(NOW, "r"),
            counter,
            audience: &shop(),
            request,
        })
    }
}

impl World {
    async fn verify(
        &self,
        token: &str,
        request: &RequestDigest,
        now: Timestamp,
    ) -> Result<DeviceLogin, Refusal> {
        match self
            .door
            .verify_request(token, request, &shop(), HERE, now)
            .await
        {
            Ok(login) => Ok(login),
            Err(NotAdmitted::Refused(refusal)) => Err(refusal),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn counters_are_numbers_that_all_can_tell_apart() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let device = world.derived();
    world
        .sign_in(&device.login(NOW, "1"), NOW)
        .await
        .expect("signed");
    let request = RequestDigest::of("GET", "/", b"");
    for counter in [0, 1 << 53, u64::MAX] {
        let token = device.request(counter, request);
        let verified = world.verify(&token, &request, NOW);
        assert_eq!(
            verified.await.err(),
            Some(Refusal::TokenInvalid),
            "{counter}"
        );
    }
    for counter in [1, 1 << 52] {
        let token = device.request(counter, request);
        let verified = world.verify(&token, &request, NOW);
        assert!(verified.await.is_ok(), "{counter}");
    }
    let token = device.request(2, request);
    let late = world.verify(&token, &request, NOW);
    assert_eq!(late.await.err(), Some(Refusal::TokenReplayed));
    assert!(!world.event_names().await.contains(&"clone_suspected"));
}

#[tokio::test]
async fn requests_are_good_once_in_any_order_for_what_was_signed() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let device = world.derived();
    let request = RequestDigest::of("PUT", "/v1/values?a=1", b"17");
    let token = device.request(2, request);
    assert_eq!(
        world.verify(&token, &request, NOW).await.err(),
        Some(Refusal::TokenInvalid),
        "a device that has never signed in"
    );
    world
        .sign_in(&device.login(NOW, "1"), NOW)
        .await
        .expect("signed");

    let login = world.verify(&token, &request, NOW).await.expect("right");
    assert_eq!(login.serial().as_str(), SERIAL);
    let check = async |token: &str, request: &RequestDigest, now, expected| {
        assert_eq!(world.verify(token, request, now).await.err(), expected);
    };
    check(&token, &request, NOW, Some(Refusal::TokenReplayed)).await;
    let earlier = device.request(1, request);
    check(&earlier, &request, NOW, None).await;
    check(&earlier, &request, NOW, Some(Refusal::TokenReplayed)).await;

    let altered = RequestDigest::of("PUT", "/v1/values?a=1", b"18");
    let third = device.request(3, request);
    check(&third, &altered, NOW, Some(Refusal::RequestAltered)).await;
    check(&third, &request, NOW, None).await;

    let late = device.request(4, request);
    check(&late, &request, after(361_000), Some(Refusal::TokenExpired)).await;
    let login = device.login(after(1), "1");
    check(&login, &request, NOW, Some(Refusal::TokenInvalid)).await;
    assert_eq!(
        world.turned_away(&late, NOW).await,
        Refusal::TokenInvalid,
        "a request's token lets nobody in"
    );

    world.change(Transition::Suspend).await;
    let fifth = device.request(5, request);
    check(&fifth, &request, NOW, Some(Refusal::Suspended)).await;
}
