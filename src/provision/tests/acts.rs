//! What operators do: bans, blocks, many devices at once; and what failures cost.

use super::*;

#[tokio::test]
async fn a_ban_is_asked_before_anything_else() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let network = crate::Network::parse("127.0.0.0/8").expect("valid");
    let span = Some(Duration::from_secs(60));
    let banned = world.door.ban(network, span, None, NOW).await;
    assert_eq!(
        banned.map(|ban| ban.until).ok(),
        Some(Some(NOW.plus(Duration::from_secs(60))))
    );
    let code = code(SECRET, "0123456789");
    assert_eq!(world.refused("0123456789", &code).await, Refusal::Banned);
    let later = NOW.plus(Duration::from_secs(60));
    assert!(!world.door.bans().covers(HERE, later));
    assert_eq!(world.door.standing_bans(later).await, Ok(Vec::new()));
    world.door.drop_ended_bans(later).await.expect("written");
    assert_eq!(world.registry.bans().await, Ok(Vec::new()));
    assert!(matches!(
        world.door.unban(network, NOW).await,
        Err(BanError::Unknown(_))
    ));
    assert!(world.admit("0123456789", &code).await.is_ok());
}

#[tokio::test]
async fn an_excepted_device_is_out_at_no_moment() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.register(&["other"]).await;
    let key = world.key(&mut world.activation().await).await;
    let names = ["0123456789", "other"].map(|text| DeviceName::parse(text).expect("valid"));
    let (door, product) = (&world.door, &world.product);
    let reserve = || async { door.reserve_block(product, NOW).await.expect("reserved") };
    let first = reserve().await;
    assert!(
        door.except(product, first, &names)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert!(world.is_in(&key).await, "nothing is blocked yet");
    door.block_product(product, first, 2, NOW)
        .await
        .expect("blocked");
    assert!(world.is_in(&key).await);

    // A second block, prepared while the first holds.
    let second = reserve().await;
    assert_ne!(first, second);
    assert!(door.except(product, second, &names[..1]).await[0].is_ok());
    assert!(world.is_in(&key).await);
    let other = code(SECRET, "other");
    assert!(
        world.admit("other", &other).await.is_ok(),
        "not replaced yet"
    );
    door.block_product(product, second, 1, NOW)
        .await
        .expect("blocked");
    assert!(world.is_in(&key).await);
    assert_eq!(
        world.refused("other", &other).await,
        Refusal::ProductBlocked
    );
    door.unblock_product(product, NOW).await.expect("unblocked");
    assert!(world.admit("other", &other).await.is_ok());
    let third = reserve().await;
    door.block_product(product, third, 0, NOW)
        .await
        .expect("blocked");
    assert_eq!(
        world.refused("0123456789", &key).await,
        Refusal::ProductBlocked
    );
}

#[tokio::test]
async fn an_older_product_never_replaces_a_newer_one() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let before = world.registry.product(&world.product).await;
    let before = before.expect("readable").expect("there");
    let number = world.door.reserve_block(&world.product, NOW).await;
    let number = number.expect("reserved");
    let blocked = world
        .door
        .block_product(&world.product, number, 0, NOW)
        .await;
    blocked.expect("blocked");
    world.door.catalogue.put(before).expect("opens");
    let code = code(SECRET, "0123456789");
    assert_eq!(
        world.refused("0123456789", &code).await,
        Refusal::ProductBlocked
    );
}

#[tokio::test]
async fn many_devices_change_together() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.register(&["a", "b"]).await;
    let names = ["a", "unknown", "b", "a"].map(|text| DeviceName::parse(text).expect("valid"));
    let outcome = world
        .door
        .change_devices(&names, Transition::Revoke, NOW)
        .await;
    let fine: Vec<bool> = outcome.iter().map(Result::is_ok).collect();
    assert_eq!(fine, [true, false, true, false]);
    assert!(matches!(
        outcome[3],
        Err(DeviceError::Transition(crate::TransitionError::Already(_)))
    ));
    world.registry.fail_after(0);
    let outcome = world
        .door
        .change_devices(&names[..1], Transition::ResetFromRevoked, NOW)
        .await;
    assert!(matches!(outcome[0], Err(DeviceError::Registry(_))));
}

#[tokio::test]
async fn failures_close_the_way_to_the_password_check_and_no_other() {
    let mut world = World::new(Reactivation::UntilConfirmed).await;
    world.door = world.door.with_failures(Rate::per_minute(1, 1));
    let wrong = "00".repeat(20);
    for _ in 0..2 {
        assert_eq!(world.door.pace(HERE, NOW), Pace::AtOnce);
        assert_eq!(
            world.refused("0123456789", &wrong).await,
            Refusal::WrongCode
        );
    }
    assert_eq!(world.door.pace(HERE, NOW), Pace::Slowly);
    let code = code(SECRET, "0123456789");
    assert!(world.admit("0123456789", &code).await.is_ok());
    let new = NewOperator {
        name: OperatorName::parse("ops").expect("valid"),
        password: "correct horse battery".to_owned().into(),
        role: Role::Viewer,
        publish: Vec::new(),
        subscribe: Vec::new(),
    };
    world.door.add_operator(new, NOW).await.expect("added");
    let refusal = world.refused("ops", "correct horse battery").await;
    assert_eq!(refusal, Refusal::Throttled);
    let elsewhere = Attempt {
        username: Some("ops"),
        password: Some(b"correct horse battery"),
        source: IpAddr::from([10, 0, 0, 1]),
        hardware: None,
    };
    assert!(world.door.admit(elsewhere, NOW).await.is_ok());
}
