//! What was sent and not acknowledged, piece by piece: what the peer holds, what is lost, when each piece left.
//!
//! Owns [`Scoreboard`] and the detection of losses by time (RFC 8985, "RACK", as Linux has it). Must not know windows
//! or timers. Invariants: the pieces are in order and without gaps; what is neither held by the peer nor taken for
//! lost is on its way.

use std::collections::VecDeque;
use std::time::Duration;

use shim_runtime::clock::SimTime;

/// What is believed of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    OnItsWay,
    Held,
    Lost,
}

/// Numbers that left together.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u64,
    end: u64,
    /// When it left, the last time.
    at: SimTime,
    fate: Fate,
    /// Whether it left more than once.
    resent: bool,
}

impl Piece {
    fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// What an acknowledgement told.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct News {
    /// Bytes that are now known to have arrived.
    pub(crate) delivered: u64,
    /// The time to the peer and back of the oldest piece among them, unless it was sent twice.
    pub(crate) oldest_rtt: Option<Duration>,
    /// The same of the newest.
    pub(crate) newest_rtt: Option<Duration>,
}

/// Everything that was sent and not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Scoreboard {
    pieces: VecDeque<Piece>,
    held: u64,
    lost: u64,
    /// No lost piece begins before this.
    lost_from: u64,
    /// The end of what the peer holds.
    highest: u64,
    /// When the newest piece left that has arrived, and its end; and how long it took.
    newest: Option<(SimTime, u64)>,
    newest_took: Duration,
    least_rtt: Option<Duration>,
    /// Whether something arrived later than what was sent after it.
    reorders: bool,
    /// Bytes that were sent again, in all.
    pub(crate) resent_bytes: u64,
}

/// How many segments held by the peer mean that something before them is lost, while no reordering was seen.
const DUPLICATES: u64 = 3;

impl Scoreboard {
    /// Numbers left for the first time.
    pub(crate) fn sent(&mut self, start: u64, end: u64, now: SimTime) {
        match self.pieces.back_mut() {
            Some(last) if last.at == now && !last.resent && last.fate == Fate::OnItsWay => last.end = end,
            _ => self.pieces.push_back(Piece { start, end, at: now, fate: Fate::OnItsWay, resent: false }),
        }
    }

    /// How many bytes of what was sent are on their way.
    pub(crate) fn flight(&self) -> u64 {
        let ends = self.pieces.front().zip(self.pieces.back());
        ends.map_or(0, |(first, last)| last.end - first.start) - self.held - self.lost
    }

    /// Bytes that the peer holds out of order.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Bytes that are lost and were not sent again.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// The shortest time to the peer and back.
    pub(crate) fn least_rtt(&self) -> Option<Duration> {
        self.least_rtt
    }

    /// Bytes that were sent again and are on their way.
    pub(crate) fn resent_flight(&self) -> u64 {
        let again = self.pieces.iter().filter(|piece| piece.resent && piece.fate == Fate::OnItsWay);
        again.map(Piece::len).sum()
    }

    /// Whether something arrived later than what was sent after it.
    pub(crate) fn reorders(&self) -> bool {
        self.reorders
    }

    /// Everything below `una` has arrived.
    pub(crate) fn acknowledged(&mut self, una: u64, now: SimTime, news: &mut News) {
        while let Some(first) = self.pieces.front_mut() {
            if first.start >= una {
                break;
            }
            let whole = first.end <= una;
            let part = Piece { end: first.end.min(una), ..*first };
            if whole {
                self.pieces.pop_front().map_or((), drop)
            } else {
                first.start = una
            }
            match part.fate {
                Fate::Held => self.held -= part.len(),
                fate => {
                    if fate == Fate::Lost {
                        self.lost -= part.len();
                    }
                    self.arrived(&part, now, news);
                }
            }
        }
    }

    /// The peer holds `start..end`.
    pub(crate) fn hold(&mut self, start: u64, end: u64, now: SimTime, news: &mut News) {
        let mut place = self.pieces.partition_point(|piece| piece.end <= start);
        while place < self.pieces.len() && self.pieces[place].start < end {
            if self.pieces[place].fate == Fate::Held {
                place += 1;
                continue;
            }
            if self.pieces[place].start < start {
                self.split(place, start);
                place += 1;
            }
            if self.pieces[place].end > end {
                self.split(place, end);
            }
            let piece = self.pieces[place];
            if piece.fate == Fate::Lost {
                self.lost -= piece.len();
            }
            self.held += piece.len();
            self.arrived(&piece, now, news);
            self.pieces[place].fate = Fate::Held;
            place = self.join(place) + 1;
        }
        self.highest = self.highest.max(end);
    }

    /// Joins the held piece at `place` to the one before, if that is held as well; where it is then.
    fn join(&mut self, place: usize) -> usize {
        let Some(before) = place.checked_sub(1).filter(|before| self.pieces[*before].fate == Fate::Held)
        else {
            return place;
        };
        self.pieces[before].end = self.pieces[place].end;
        self.pieces.remove(place);
        before
    }

    fn split(&mut self, place: usize, at: u64) {
        let second = Piece { start: at, ..self.pieces[place] };
        self.pieces[place].end = at;
        self.pieces.insert(place + 1, second);
    }

    fn arrived(&mut self, piece: &Piece, now: SimTime, news: &mut News) {
        news.delivered += piece.len();
        let took = now - piece.at;
        if piece.resent {
            // It may be the first sending that arrived.
            if self.least_rtt.is_some_and(|least| took < least) {
                return;
            }
        } else {
            self.least_rtt = Some(self.least_rtt.map_or(took, |least| least.min(took)));
            news.oldest_rtt = news.oldest_rtt.or(Some(took));
            news.newest_rtt = Some(took);
            self.reorders |= piece.start < self.highest;
        }
        if self.newest.is_none_or(|newest| newest < (piece.at, piece.end)) {
            self.newest = Some((piece.at, piece.end));
            self.newest_took = took;
        }
    }

    /// Takes for lost what left so much before something that has arrived that it cannot be late: how many bytes, and
    /// how long to wait until more can be said.
    pub(crate) fn detect(
        &mut self,
        now: SimTime,
        recovering: bool,
        mss: u64,
        smoothed: Duration,
    ) -> (u64, Option<Duration>) {
        let Some(newest) = self.newest.filter(|_| self.held > 0 || self.lost > 0) else {
            return (0, None);
        };
        let strict = !self.reorders && (recovering || self.held >= DUPLICATES * mss);
        let late =
            if strict { Duration::ZERO } else { (self.least_rtt.unwrap_or_default() / 4).min(smoothed) };
        let patience = self.newest_took + late;
        let (mut found, mut wait) = (0, None::<Duration>);
        for piece in &mut self.pieces {
            let later = (piece.at, piece.end) >= newest;
            if piece.fate != Fate::OnItsWay || later {
                if later && !piece.resent && piece.fate == Fate::OnItsWay {
                    break;
                }
                continue;
            }
            match (patience + (piece.at - SimTime::ZERO)).checked_sub(now - SimTime::ZERO) {
                Some(rest) if !rest.is_zero() => wait = Some(wait.map_or(rest, |wait| wait.max(rest))),
                _ => {
                    piece.fate = Fate::Lost;
                    found += piece.len();
                    self.lost_from = self.lost_from.min(piece.start);
                }
            }
        }
        self.lost += found;
        (found, wait)
    }

    /// Takes everything for lost that the peer does not hold.
    pub(crate) fn lose_all(&mut self) {
        for piece in &mut self.pieces {
            if piece.fate == Fate::OnItsWay {
                piece.fate = Fate::Lost;
                self.lost += piece.len();
            }
        }
        self.lost_from = 0;
    }

    /// The first lost numbers.
    pub(crate) fn first_lost(&mut self) -> Option<(u64, u64)> {
        if self.lost == 0 {
            self.lost_from = u64::MAX;
            return None;
        }
        let from = self.pieces.partition_point(|piece| piece.end <= self.lost_from);
        let piece = self.pieces.iter().skip(from).find(|piece| piece.fate == Fate::Lost)?;
        self.lost_from = piece.start;
        Some((piece.start, piece.end))
    }

    /// The last numbers that are on their way, at most `len` of them.
    pub(crate) fn tail(&self, len: u64) -> Option<(u64, u64)> {
        let last = self.pieces.back().filter(|last| last.fate == Fate::OnItsWay)?;
        Some((last.start.max(last.end.saturating_sub(len)), last.end))
    }

    /// Numbers from `start` on left once more.
    pub(crate) fn resent(&mut self, start: u64, end: u64, now: SimTime) {
        let mut place = self.pieces.partition_point(|piece| piece.end <= start);
        let Some(piece) = self.pieces.get(place) else { return };
        if piece.start < start {
            self.split(place, start);
            place += 1;
        }
        if self.pieces[place].end > end {
            self.split(place, end);
        }
        let piece = &mut self.pieces[place];
        self.resent_bytes += piece.len();
        if piece.fate == Fate::Lost {
            self.lost -= piece.len();
        }
        (piece.fate, piece.resent, piece.at) = (Fate::OnItsWay, true, now);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        (self.held, self.lost) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(40);

    fn at(millis: u64) -> SimTime {
        SimTime(millis * 1_000_000)
    }

    /// Ten segments of a hundred bytes, a millisecond apart.
    fn ten() -> Scoreboard {
        let mut board = Scoreboard::default();
        (0..10).for_each(|place| board.sent(place * 100, (place + 1) * 100, at(place)));
        board
    }

    #[test]
    fn three_held_segments_mean_that_the_one_before_is_lost() {
        let mut board = ten();
        let mut news = News::default();
        board.acknowledged(100, at(40), &mut news);
        assert_eq!((news.delivered, news.oldest_rtt), (100, Some(RTT)));
        for (place, lost) in [(2, 0), (3, 0), (4, 100)] {
            board.hold(200, (place + 1) * 100, at(40 + place), &mut News::default());
            assert_eq!(board.detect(at(40 + place), false, 100, RTT).0, lost, "{place}");
        }
        assert_eq!((board.first_lost(), board.held(), board.flight()), (Some((100, 200)), 300, 500));
        board.resent(100, 200, at(44));
        assert_eq!((board.first_lost(), board.flight()), (None, 600));
        // What was sent again is lost again once something that left later has arrived.
        board.sent(1000, 1100, at(45));
        board.hold(1000, 1100, at(86), &mut News::default());
        assert_eq!(board.detect(at(86), true, 100, RTT).0, 600);
    }

    #[test]
    fn where_order_changes_a_quarter_of_the_time_is_waited() {
        let mut board = ten();
        board.hold(500, 600, at(45), &mut News::default());
        let (lost, wait) = board.detect(at(45), false, 100, RTT);
        assert_eq!((lost, wait), (0, Some(Duration::from_millis(9))));
        board.acknowledged(300, at(46), &mut News::default());
        assert!(board.reorders());
        assert_eq!(board.detect(at(53), false, 100, RTT), (100, Some(Duration::from_millis(1))));
    }

    #[test]
    fn a_time_out_loses_all_that_is_not_held() {
        let mut board = ten();
        board.hold(300, 450, at(50), &mut News::default());
        board.lose_all();
        assert_eq!((board.flight(), board.lost(), board.first_lost()), (0, 850, Some((0, 100))));
        board.resent(0, 50, at(60));
        assert_eq!(board.first_lost(), Some((50, 100)));
        let mut news = News::default();
        board.acknowledged(450, at(100), &mut news);
        assert_eq!((board.held(), board.lost(), news.delivered), (0, 550, 300));
        assert_eq!(board.first_lost(), Some((450, 500)));
    }
}
