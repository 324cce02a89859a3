//! In which order windows go, which do not, and the end.

use super::*;

#[tokio::test(start_paused = true)]
async fn each_part_of_each_window_is_sent_once() {
    let rig = Rig::new(|_, _| Some(Outcome::Delivered));
    rig.put(1..=20);
    rig.until_settled().await;
    assert_eq!(rig.sent().len(), 60);
    assert!(rig.sent().values().all(|n| *n == 1));
    let status = rig.shared.read();
    assert_eq!((status.shipped, status.requests, status.bytes), (20, 60, 600));
    assert_eq!((status.retried, status.refused, status.sent_again), (0, 0, 0));
    assert_eq!((status.dropped_samples, status.in_flight), (20, 0));
    assert!(rig.store.all_delivered()[..3].contains(&20), "the newest goes first");
}

#[tokio::test(start_paused = true)]
async fn the_newest_does_not_wait_for_the_backlog() {
    let rig = Rig::new(|_, _| Some(Outcome::Delivered));
    rig.put(1..=50);
    rig.until("a few windows", |rig| rig.store.all_delivered().len() >= 3).await;
    rig.put([90]);
    rig.until("the newest", |rig| rig.store.all_delivered().contains(&90)).await;
    let delivered = rig.store.all_delivered();
    let place = delivered.iter().position(|id| *id == 90).unwrap();
    assert!(place <= 12, "the newest was number {place} of {delivered:?}");
    rig.until_settled().await;
}

#[tokio::test(start_paused = true)]
async fn windows_that_are_too_old_are_given_up() {
    let rig = Rig::at(4200, |_, _| Some(Outcome::Delivered));
    // Each ends 10 s times one more than its number after the epoch; an hour is the limit.
    rig.put(0..=99);
    rig.until_settled().await;
    let status = rig.shared.read();
    assert_eq!((status.shipped, status.refused, status.too_old), (41, 59, 59));
    assert!(rig.store.all_refused().iter().all(|(id, _)| *id < 59));
}

#[tokio::test(start_paused = true)]
async fn what_was_shipped_is_not_shipped_again_while_the_store_cannot_be_written() {
    let rig = Rig::new(|_, _| Some(Outcome::Delivered));
    rig.store.0.lock().unwrap().read_only = true;
    rig.put(1..=5);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.shared.read().shipped, 0);
    rig.store.0.lock().unwrap().read_only = false;
    rig.until_settled().await;
    assert!(rig.sent().values().all(|n| *n == 1), "{:?}", rig.sent());
    assert_eq!(rig.shared.read().shipped, 5);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_what_is_pending_is_shipped_as_long_as_there_is_time() {
    let rig = Rig::new(|_, _| Some(Outcome::Delivered));
    rig.put(1..=30);
    rig.stop.send(Some(Instant::now() + Duration::from_secs(5))).unwrap();
    rig.task.await.unwrap();
    assert_eq!(rig.store.all_delivered().len(), 30);

    let rig = Rig::new(|_, _| None);
    rig.put(1..=3);
    let told = Instant::now();
    rig.stop.send(Some(told + Duration::from_secs(5))).unwrap();
    rig.task.await.unwrap();
    assert!(told.elapsed() <= Duration::from_secs(6));
    assert_eq!(rig.shared.read().in_flight, 0);
}
