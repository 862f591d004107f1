//! Control frames that wait to leave on a channel.
//!
//! Not for: what they say, nor their numbers (`sending.rs`).

use crate::wire::frame::Frame;
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(super) struct ControlFrames {
    waiting: VecDeque<Frame>,
}

impl ControlFrames {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A newer acknowledgement takes an older one's place; when too many wait, the oldest is dropped
    /// (acknowledgements repeat, an abandon only shortens a wait).
    pub(super) fn push(&mut self, frame: Frame) {
        if let Frame::Ack(new) = &frame {
            let same =
                |f: &Frame| matches!(f, Frame::Ack(a) if a.channel == new.channel && a.detour == new.detour);
            if let Some(old) = self.waiting.iter_mut().find(|f| same(f)) {
                *old = frame;
                return;
            }
        }
        if self.waiting.len() >= FRAMES_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(frame);
    }

    /// A few full packets show what the link may carry, before anything is to be carried.
    pub(super) fn push_train(&mut self, packets: usize) {
        self.waiting.extend(std::iter::repeat_n(TRAIN_PING, packets));
    }

    /// Frames for one datagram, and its bytes with header and tag.
    pub(super) fn take(&mut self) -> (Vec<Frame>, usize) {
        let mut frames = Vec::new();
        let mut bytes = CONTROL_BYTES;
        while let Some(frame) = self.waiting.front() {
            let size = frame.encoded_len();
            if !frames.is_empty() && bytes + size > CONTROL_MAX {
                break;
            }
            bytes += size;
            frames.extend(self.waiting.pop_front());
        }
        (frames, bytes)
    }
}

/// A packet of the train on a new link: 1,275 bytes with all headers over IPv6, whose links take 1,280 (RFC 8200).
const TRAIN_PING: Frame = Frame::Ping { padding: 1_200 };
const FRAMES_MAX: usize = 64;
/// Header and tag of a control datagram.
const CONTROL_BYTES: usize = 24;
/// Sealed control datagrams stay below every path's MTU.
const CONTROL_MAX: usize = 1_100;
