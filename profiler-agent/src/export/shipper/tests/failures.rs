//! What is tried again, what is given up, and when.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use super::*;

#[tokio::test(start_paused = true)]
async fn parts_that_the_backend_has_are_not_sent_again() {
    let failed = Mutex::new(VecDeque::from([(1, 2), (1, 2)]));
    let rig = Rig::new(move |window, part| {
        let mut failed = failed.lock().unwrap();
        if failed.front() == Some(&(window, part)) {
            failed.pop_front();
            return Some(retry("busy", Sent::Answered));
        }
        Some(Outcome::Delivered)
    });
    rig.put([1]);
    rig.until_settled().await;
    let sent = rig.sent();
    assert_eq!((sent[&(1, 0)], sent[&(1, 1)], sent[&(1, 2)]), (1, 1, 3));
    let status = rig.shared.read();
    assert_eq!((status.shipped, status.retried, status.sent_again), (1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_counted_when_its_part_is_sent_again() {
    let first = Mutex::new(true);
    let rig = Rig::new(move |_, part| {
        let is_first = part == 1 && std::mem::take(&mut *first.lock().unwrap());
        if is_first { None } else { Some(Outcome::Delivered) }
    });
    rig.put([1]);
    rig.until_settled().await;
    assert_eq!(rig.sent()[&(1, 1)], 2);
    assert_eq!(rig.shared.read().sent_again, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_does_not_keep_the_rest() {
    let rig = Rig::new(|window, part| {
        let bad = window == 2 && part == 0;
        let reason = "too long".to_owned();
        Some(if bad { Outcome::Final { reason } } else { Outcome::Delivered })
    });
    rig.put(1..=3);
    rig.until_settled().await;
    assert!(rig.sent().values().all(|n| *n == 1) && rig.sent().len() == 9);
    assert_eq!(rig.store.all_refused(), [(2, "too long".to_owned())]);
    let status = rig.shared.read();
    assert_eq!((status.shipped, status.refused, status.refused_parts), (2, 1, 1));
}

/// Says of each window whether it fails, while there is an outage.
fn outage(sent: Sent) -> (Arc<AtomicBool>, Rig) {
    let away = Arc::new(AtomicBool::new(true));
    let is_away = Arc::clone(&away);
    let rig = Rig::new(move |_, _| {
        let away = is_away.load(Ordering::Relaxed);
        Some(if away { retry("away", sent) } else { Outcome::Delivered })
    });
    (away, rig)
}

#[tokio::test(start_paused = true)]
async fn no_window_is_given_up_in_an_outage_of_any_length() {
    for sent in [Sent::No, Sent::Answered, Sent::AnswerLost] {
        let (away, rig) = outage(sent);
        for id in 1..=60 {
            rig.put([id]);
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        assert!(rig.shared.read().failing);
        let tries = rig.log.lock().unwrap().len();
        assert!((100..1200).contains(&tries), "{tries} tries in 10 minutes");
        away.store(false, Ordering::Relaxed);
        let back = Instant::now();
        rig.until("a first window", |rig| !rig.store.all_delivered().is_empty()).await;
        assert!(back.elapsed() <= Duration::from_secs(5));
        rig.until_settled().await;
        assert_eq!(rig.store.all_refused(), []);
        let status = rig.shared.read();
        assert_eq!((status.shipped, status.failing), (60, false));
        assert_eq!(status.sent_again > 0, sent == Sent::AnswerLost);
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_that_takes_the_backend_down_is_given_up_and_holds_up_no_other() {
    let rig =
        Rig::new(|window, _| Some(if window == 7 { lost("reset") } else { Outcome::Delivered }));
    rig.put(1..=9);
    for id in 10..=60 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        rig.put([id]);
    }
    rig.until_settled().await;
    assert_eq!(rig.store.all_refused().len(), 1);
    assert_eq!(rig.store.all_refused()[0].0, 7);
    assert_eq!(rig.shared.read().shipped, 59);
}

#[tokio::test(start_paused = true)]
async fn a_try_that_hangs_does_not_hold_up_the_next() {
    let hang = Arc::new(AtomicBool::new(true));
    let is_hanging = Arc::clone(&hang);
    let rig =
        Rig::new(move |_, _| (!is_hanging.load(Ordering::Relaxed)).then_some(Outcome::Delivered));
    rig.put(1..=30);
    // Long enough that each try gets the whole timeout.
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(rig.shared.read().in_flight <= 4);
    hang.store(false, Ordering::Relaxed);
    let back = Instant::now();
    rig.until("a first window", |rig| !rig.store.all_delivered().is_empty()).await;
    assert!(back.elapsed() <= Duration::from_secs(5), "{:?}", back.elapsed());
    rig.until_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_does_not_take_us_is_left_alone_until_credentials_change() {
    let good = Arc::new(AtomicBool::new(false));
    let is_good = Arc::clone(&good);
    let rig = Rig::new(move |_, _| {
        let reason = "no such token".to_owned();
        let good = is_good.load(Ordering::Relaxed);
        Some(if good { Outcome::Delivered } else { Outcome::Hold { reason } })
    });
    rig.put(1..=5);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let tries = rig.log.lock().unwrap().len();
    assert!(tries <= 12, "{tries} tries in two minutes");
    assert_eq!(rig.store.all_refused(), []);
    good.store(true, Ordering::Relaxed);
    rig.credentials.store(1, Ordering::Relaxed);
    let changed = Instant::now();
    rig.until_settled().await;
    assert!(changed.elapsed() <= Duration::from_secs(5));
    assert_eq!(rig.shared.read().shipped, 5);
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_a_backend_asks_for_is_kept() {
    let first = Mutex::new(true);
    let rig = Rig::new(move |_, _| {
        let asked = std::mem::take(&mut *first.lock().unwrap());
        let after = Some(Duration::from_secs(40));
        let reason = "slow down".to_owned();
        Some(if asked {
            Outcome::Retry { reason, after, sent: Sent::Answered }
        } else {
            Outcome::Delivered
        })
    });
    rig.put([1]);
    let begun = Instant::now();
    rig.until_settled().await;
    assert!(begun.elapsed() >= Duration::from_secs(40));
}
