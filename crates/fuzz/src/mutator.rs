use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Longest input that mutation makes of a seed.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// What a length, a count or an offset could be at its worst, in every width and byte order that is read here.
const WORST: &[&[u8]] = &[
    &[0],
    &[0xff],
    &[0x7f],
    &[0x80],
    &[0x7f, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0, 0, 0],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xfe, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    &[0xff; 8],
    &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x80, 0, 0, 0, 0, 0, 0, 0],
    &[0, 0, 0, 0, 0, 0, 0, 0],
];

/// Makes bad inputs of good ones, the same from the same seed.
pub struct Mutator {
    rng: StdRng,
}

impl Mutator {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// One of `seeds` with one to four changes; noise if there is none.
    pub fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let Some(seed) = self.pick(seeds) else {
            return self.noise(600);
        };
        let mut input = seed.clone();
        for _ in 0..self.rng.random_range(1..=4) {
            self.change(&mut input, seeds);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.rng.random_range(0..from.len())])
    }

    fn noise(&mut self, most: usize) -> Vec<u8> {
        let mut noise = vec![0; self.rng.random_range(0..most)];
        self.rng.fill_bytes(&mut noise);
        noise
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.rng.random_range(0..=input.len());
        let left = input.len() - at;
        match self.rng.random_range(0..8) {
            0 if left > 0 => input[at] ^= 1 << self.rng.random_range(0..8),
            1 if left > 0 => input[at] = self.rng.random(),
            2 => input.truncate(at),
            3 => {
                let worst = WORST[self.rng.random_range(0..WORST.len())];
                input.splice(at..at + worst.len().min(left), worst.iter().copied());
            }
            4 => {
                let noise = self.noise(40);
                input.splice(at..at, noise);
            }
            5 => {
                let gone = self.rng.random_range(0..=left.min(64));
                input.drain(at..at + gone);
            }
            6 => {
                // A part once more, or many times.
                let part = input[at..at + left.min(200)].to_vec();
                for _ in 0..self.rng.random_range(1..6) {
                    input.splice(at..at, part.iter().copied());
                }
            }
            _ => {
                // The end of another.
                let other = self.pick(seeds).cloned().unwrap_or_default();
                let from = self.rng.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
}
