//! Acts whose condition spans several rows.

use futures_util::future::join_all;

use super::secrets::NEWER;
use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn two_products_never_share_a_secret() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let secret = |text: &str| Some(ProductSecret::parse(text).expect("valid"));
    let make = |text: &str| {
        let new = NewProduct {
            secret: secret(text),
            ..NewProduct::named("other")
        };
        world.door.create_product(new, NOW)
    };
    let taken = |made: &Result<_, ProductError>| match made {
        Err(ProductError::SecretTaken(other)) => *other == world.product,
        _ => false,
    };
    assert!(taken(&make(SECRET).await.map(drop)));
    let (other, _) = make(NEWER).await.expect("one of its own");
    let rotated = world
        .door
        .rotate_secret(&other.id, secret(SECRET), DAY, NOW)
        .await;
    assert!(matches!(rotated, Err(SecretError::Taken(id)) if id == world.product));

    // Also one that has ended.
    let fresh = world
        .door
        .rotate_secret(&world.product, None, Duration::ZERO, NOW);
    fresh.await.expect("rotated");
    assert!(taken(&make(SECRET).await.map(drop)));

    // Of several at once, one gets it.
    let raced = join_all((0..8).map(|_| make("00112233445566778899aabbccddeeff00112233"))).await;
    assert_eq!(raced.iter().filter(|made| made.is_ok()).count(), 1);
}

#[tokio::test]
async fn an_admin_is_always_left() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let (one, two) = (
        world.operator("one", Role::Admin).await,
        world.operator("two", Role::Admin).await,
    );
    world.operator("ops", Role::Operator).await;
    let removed = join_all([&one, &two].map(|name| world.door.remove_operator(name, NOW))).await;
    assert_eq!(removed.iter().filter(|done| done.is_ok()).count(), 1);

    let left = match removed[0] {
        Ok(()) => two,
        Err(_) => one,
    };
    let demoted = world.door.add_operator(
        NewOperator {
            name: left.clone(),
            password: "correct horse battery".to_owned().into(),
            role: Role::Operator,
            publish: Vec::new(),
            subscribe: Vec::new(),
        },
        NOW,
    );
    let demoted = demoted.await;
    assert!(matches!(demoted, Err(OperatorError::LastAdmin(name)) if name == left));
    // Others come and go.
    let ops = OperatorName::parse("ops").expect("valid");
    world
        .door
        .remove_operator(&ops, NOW)
        .await
        .expect("removed");
}

#[tokio::test]
async fn an_operator_has_a_hundred_tokens_also_by_racing() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let ops = world.operator("ops", Role::Operator).await;
    let raced = join_all((0..151).map(|_| world.door.create_token(&ops, "", None, NOW))).await;
    assert_eq!(raced.iter().filter(|made| made.is_ok()).count(), 100);
    assert_eq!(world.door.tokens(NOW).await.expect("readable").len(), 100);
}

#[tokio::test]
async fn an_answer_is_repeated_to_the_credential_that_had_it_and_no_other() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let ops = world.operator("ops", Role::Operator).await;
    let mut logins = Vec::new();
    for span in [None, Some(DAY)] {
        let made = world.door.create_token(&ops, "", span, NOW).await;
        logins.push(world.login(&made.expect("made").1).await.expect("in"));
    }
    let [lasting, ending] = logins.as_slice() else {
        panic!("two logins");
    };
    let Ok(Once::Begun(begun)) = world.door.begin_once(lasting, "key", [7; 32], NOW).await else {
        panic!("it is new");
    };
    world.door.end_once(begun, b"a secret").await.expect("kept");
    let again = world.door.begin_once(lasting, "key", [7; 32], NOW).await;
    assert!(matches!(again, Ok(Once::Answered(answer)) if answer.as_slice() == b"a secret"));
    let other = world.door.begin_once(ending, "key", [7; 32], NOW).await;
    assert!(matches!(other, Ok(Once::Begun(_))));
}
