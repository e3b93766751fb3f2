//! The tables of docs/SOUND.md, "Capture": what the chain does to echoes, noise and levels, on real speech.
//!
//! `cargo run --release -p audio --example capture [DIR] [TABLE...]`; with DIR, `DIR/NAME.said.wav` and
//! `DIR/NAME.heard.wav` are written for each quality and `{NAME}` stands where its PESQ belongs (scripts/capture.sh
//! fills it in). Tables are echo, noise, clean, levels, detection, cost and encoder; without a name all of them.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Instant;

use audio::{
    Capture, Chain, Decoder, Encoder, FrameLen, HighPass, Limiter, Resampler, Stages, Switch, measure,
};

fn main() {
    let dir = std::env::args().nth(1).map(PathBuf::from);
    let lab = Lab { bob: read("bob.wav"), alice: read("alice.wav"), dir };
    let wanted: Vec<String> = std::env::args().skip(2).collect();
    let tables: [(&str, Table); 7] = [
        ("echo", Lab::echo),
        ("noise", Lab::noise),
        ("clean", Lab::clean),
        ("levels", Lab::levels),
        ("detection", Lab::detection),
        ("cost", Lab::cost),
        ("encoder", Lab::encoder),
    ];
    for (name, table) in tables {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            table(&lab);
        }
    }
}

type Table = fn(&Lab);

struct Lab {
    bob: Vec<f32>,
    alice: Vec<f32>,
    dir: Option<PathBuf>,
}

/// A loudspeaker in a room, and the clock of the microphone against its.
struct Room {
    name: &'static str,
    /// Of the echo against what is played, in dB.
    gain: f32,
    /// In seconds.
    rt60: f32,
    ppm: f64,
    clips: bool,
}

impl Lab {
    /// A friend talks for 48 s without a break, now and then somebody at this end does, too; then the other way round.
    fn echo(&self) {
        for (who, far, near) in [("lower", &self.bob, &self.alice), ("higher", &self.alice, &self.bob)] {
            println!("\n## Echo, the friend has the {who} voice\n");
            println!(
                "| loudspeaker in the microphone | found after | echo taken out | sent of the friend alone | of the own voice \
                 | both talking: off | on |"
            );
            println!("|---|---|---|---|---|---|---|");
            let far: Vec<f32> = far.iter().copied().cycle().take(2 * self.bob.len()).collect();
            let near = now_and_then(near, far.len());
            for room in &ROOMS {
                self.echo_in(room, who, &far, &near);
            }
        }
    }

    fn echo_in(&self, room: &Room, who: &str, far: &[f32], near: &[f32]) {
        let mut echo = convolved(far, &room.response(), room.clips);
        if room.ppm != 0.0 {
            echo = drifted(&echo, room.ppm);
        }
        let floor = pink(far.len(), -72.0, 7);
        let mic: Vec<f32> = (0..far.len()).map(|i| echo[i] + near[i] + floor[i]).collect();
        let stages = Stages { echo: Switch::Auto, noise: Switch::Off, level: false, gate: true };
        let run = run(stages, Some(far), &mic);
        // The gate holds on for a while after the own voice.
        let alone = |i: usize| i > 300 && dbfs(&near[(i - 45) * BLOCK..(i + 1) * BLOCK]) < -80.0;
        let own = |i: usize| i > 300 && dbfs(&near[i * BLOCK..(i + 1) * BLOCK]) > -45.0;
        let sent =
            |who: &dyn Fn(usize) -> bool| share((0..run.open.len()).filter(|i| who(*i)), |i| run.open[i]);
        let quiet = SILENT_FROM * RATE..SILENT_UNTIL * RATE;
        let found = run.found.map_or("never".into(), |blocks| format!("{:.1} s", blocks as f32 / 100.0));
        let taken = match run.found {
            Some(_) => format!("{:.0} dB", dbfs(&mic[quiet.clone()]) - dbfs(&run.out[quiet])),
            None => "-".into(),
        };
        let both = DOUBLE_FROM * RATE..(DOUBLE_FROM + 3) * RATE;
        let scored = |tag: &str, heard: &[f32]| {
            let name = format!("echo-{who}-{}-{tag}", room.name);
            self.scored(&name, &near[both.clone()], &heard[both.clone()])
        };
        println!(
            "| {} | {found} | {taken} | {:.1} % | {:.1} % | {} | {} |",
            room.name,
            sent(&alone),
            sent(&own),
            scored("off", &mic),
            scored("on", &run.out)
        );
    }

    fn noise(&self) {
        println!("\n## Noise\n");
        println!(
            "| noise | lower voice: off | on | automatic | higher voice: off | on | automatic | works |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        let said = self.said();
        let voices = [("lower", 0..self.bob.len()), ("higher", self.bob.len() + RATE..said.len())];
        for (name, noise) in self.noises() {
            let mic: Vec<f32> = said.iter().zip(&noise).map(|(s, n)| s + n).collect();
            let runs =
                [("off", Switch::Off), ("on", Switch::On), ("auto", Switch::Auto)].map(|(tag, noise)| {
                    (tag, run(Stages { echo: Switch::Off, noise, level: false, gate: true }, None, &mic))
                });
            let mut row = format!("| {name} ");
            for (voice, at) in &voices {
                for (tag, run) in &runs {
                    let name = format!("noise-{name}-{voice}-{tag}");
                    row += &format!("| {} ", self.scored(&name, &said[at.clone()], &run.out[at.clone()]));
                }
            }
            println!("{row}| {:.0} % |", runs[2].1.suppressed);
        }
    }

    /// What each stage alone, and all of them, do to a microphone that needs none of them.
    fn clean(&self) {
        println!("\n## A clean microphone\n\n| stages | lower voice | higher voice |\n|---|---|---|");
        let said = self.said();
        let mic: Vec<f32> = said.iter().zip(pink(said.len(), -75.0, 9)).map(|(s, n)| s + n).collect();
        let row = |name: &str, heard: &[f32]| {
            let voices = [("lower", 0..self.bob.len()), ("higher", self.bob.len() + RATE..said.len())];
            let cells = voices.map(|(voice, at)| {
                self.scored(&format!("clean-{name}-{voice}"), &said[at.clone()], &heard[at])
            });
            println!("| {name} | {} | {} |", cells[0], cells[1]);
        };
        row("none: the microphone", &mic);
        for cutoff in [20.0, 30.0, 40.0, 60.0, 80.0] {
            let mut heard = mic.clone();
            HighPass::at(cutoff).filter(&mut heard);
            row(&format!("high-pass at {cutoff} Hz"), &heard);
        }
        let mut limited = mic.clone();
        let mut limiter = Limiter::new();
        limited.chunks_exact_mut(BLOCK).for_each(|block| limiter.limit(block));
        row("limiter", &limited);
        let off = Stages { echo: Switch::Off, noise: Switch::Off, level: false, gate: true };
        for (name, stages) in [
            ("high-pass and limiter, as always", off),
            ("the same and level", Stages { level: true, ..off }),
            ("the same and noise suppression, automatic", Stages { noise: Switch::Auto, ..off }),
            ("the same and echo cancellation, automatic", Stages { echo: Switch::Auto, ..off }),
            ("all, as by default", Stages::default()),
        ] {
            row(name, &run(stages, None, &mic).out);
        }
    }

    fn levels(&self) {
        println!("\n## Level\n\nIn dBFS while speaking, 4 to 14 s after the first word.\n");
        println!("| | -12 dB | -6 dB | as recorded | +6 dB | +12 dB |\n|---|---|---|---|---|---|");
        let alice: Vec<f32> = self.alice.iter().copied().cycle().take(15 * RATE).collect();
        let mut ends = Vec::new();
        for (name, voice) in [("lower voice", &self.bob), ("higher voice", &alice)] {
            let (mut before, mut after) = (format!("| {name}, in "), format!("| {name}, out "));
            for gain in [-12.0, -6.0, 0.0, 6.0, 12.0] {
                let factor = 10f32.powf(gain / 20.0);
                let floor = pink(voice.len(), -78.0, 9);
                let mic: Vec<f32> =
                    voice.iter().zip(floor).map(|(s, n)| (s * factor + n).clamp(-1.0, 1.0)).collect();
                let out = run(Stages { echo: Switch::Off, ..Stages::default() }, None, &mic).out;
                before += &format!("| {:.1} ", speaking(&mic[4 * RATE..14 * RATE]));
                ends.push(speaking(&out[4 * RATE..14 * RATE]));
                after += &format!("| {:.1} ", ends[ends.len() - 1]);
            }
            println!("{before}|\n{after}|");
        }
        let spread =
            ends.iter().fold(f32::MIN, |a, b| a.max(*b)) - ends.iter().fold(f32::MAX, |a, b| a.min(*b));
        println!("\nSpread of all: {spread:.1} dB");
    }

    fn detection(&self) {
        println!("\n## Voice detection\n");
        println!("| noise | lower voice sent | higher voice sent | first sound lost | noise alone sent |");
        println!("|---|---|---|---|---|");
        let said = self.said();
        let split = self.bob.len() / BLOCK;
        let spoken: Vec<bool> = said.chunks_exact(BLOCK).map(|block| dbfs(block) > -45.0).collect();
        for (name, noise) in self.noises() {
            let mic: Vec<f32> = said.iter().zip(&noise).map(|(s, n)| s + n).collect();
            let sent = sent(&mic);
            let hit = |of: std::ops::Range<usize>| share(of.filter(|i| spoken[*i]), |i| sent[i]);
            let (lower, higher) = (hit(0..split), hit(split..spoken.len()));
            // After a pause of half a second.
            let begins = |i: &usize| *i >= 50 && spoken[*i] && !spoken[i - 50..*i].contains(&true);
            let lost =
                (0..spoken.len()).filter(begins).map(|i| sent[i..].iter().position(|s| *s).unwrap_or(0));
            let worst = lost.max().unwrap_or(0) * 10;
            let alone = self::sent(&noise);
            let false_alarms = share(0..alone.len(), |i| alone[i]);
            println!("| {name} | {lower:.1} % | {higher:.1} % | {worst} ms | {false_alarms:.1} % |");
        }
    }

    fn cost(&self) {
        println!("\n## Cost\n\n| stages | microseconds per 10 ms | of a core |\n|---|---|---|");
        let far = &self.bob;
        let echo = convolved(far, &ROOMS[3].response(), false);
        let off = Stages { echo: Switch::Off, noise: Switch::Off, level: false, gate: true };
        let cells = [
            ("high-pass, detector, limiter", off, None),
            ("the same and level", Stages { level: true, ..off }, None),
            ("the defaults, quiet room, headset", Stages::default(), Some(&self.alice)),
            ("noise suppression added", Stages { noise: Switch::On, level: true, ..off }, None),
            ("echo cancellation added", Stages { echo: Switch::On, level: true, ..off }, Some(far)),
        ];
        for (name, stages, far) in cells {
            let far: Option<Vec<f32>> = far.map(|far| far.iter().copied().cycle().take(echo.len()).collect());
            let blocks = self.bob.len() / BLOCK;
            let micros = best(blocks, || drop(run(stages, far.as_deref(), &self.bob)));
            println!("| {name} | {micros:.0} | {:.2} % |", micros / 100.0);
        }
        for (name, frame) in [("20", FrameLen::Ms20), ("10", FrameLen::Ms10)] {
            let micros = best(self.bob.len() / BLOCK, || {
                let mut capture = Capture::new(frame, 32_000).unwrap();
                for pcm in self.bob.chunks_exact(frame.samples()) {
                    capture.frame(pcm, &mut |_| ());
                }
            });
            println!(
                "| all of it, gate and encoder too, {name} ms | {micros:.0} | {:.2} % |",
                micros / 100.0
            );
        }
    }

    /// What the encoder costs and gives, by its complexity.
    fn encoder(&self) {
        println!("\n## Encoder, 20 ms, 32 kbit/s\n");
        println!(
            "| complexity | microseconds per frame | of a core | lower voice | higher voice |\n|---|---|---|---|---|"
        );
        for complexity in [10, 9, 8, 7, 6, 5] {
            let mut cells = String::new();
            let mut micros = 0.0;
            for (voice, pcm) in [("lower", &self.bob), ("higher", &self.alice)] {
                let frames = pcm.len() / 960;
                let coded = || {
                    let mut encoder = Encoder::new(FrameLen::Ms20, 32_000).unwrap();
                    encoder.set_complexity(complexity).unwrap();
                    pcm.chunks_exact(960).map(|pcm| encoder.encode(pcm).unwrap()).collect::<Vec<_>>()
                };
                if voice == "lower" {
                    micros = best(frames, || drop(coded()));
                }
                let (mut decoder, mut heard) = (Decoder::new().unwrap(), vec![0.0; frames * 960]);
                for (opus, out) in coded().iter().zip(heard.chunks_exact_mut(960)) {
                    decoder.decode(opus, out).unwrap();
                }
                let name = format!("encoder-{complexity}-{voice}");
                cells += &format!("| {} ", self.scored(&name, &pcm[..frames * 960], &heard));
            }
            println!("| {complexity} | {micros:.0} | {:.2} % {cells}|", micros / 200.0);
        }
    }

    fn said(&self) -> Vec<f32> {
        let mut said = self.bob.clone();
        said.extend(vec![0.0; RATE]);
        said.extend(&self.alice);
        said.truncate(said.len() / BLOCK * BLOCK);
        said
    }

    /// Against speech of -23 dBFS.
    fn noises(&self) -> Vec<(String, Vec<f32>)> {
        let len = self.said().len();
        let mut noises = vec![("quiet room".to_owned(), pink(len, -75.0, 9))];
        for snr in [30, 25, 20, 15, 10, 5] {
            noises.push((format!("pink {snr} dB"), pink(len, -23.0 - snr as f32, 3)));
        }
        noises.push(("hum".into(), hum(len)));
        noises.push(("keyboard".into(), keyboard(len)));
        noises
    }

    /// PESQ and ESTOI of what was heard; the first is for the script to fill in, from the files written here.
    fn scored(&self, name: &str, said: &[f32], heard: &[f32]) -> String {
        let estoi = measure::matches(said, heard, RATE as u32).estoi;
        let Some(dir) = &self.dir else { return format!("{estoi:.3}") };
        let name = name.replace([' ', ',', '.'], "-");
        std::fs::create_dir_all(dir).unwrap();
        for (kind, pcm) in [("said", said), ("heard", heard)] {
            let spec = hound::WavSpec {
                channels: 1,
                sample_rate: 16_000,
                bits_per_sample: 16,
                sample_format: hound::SampleFormat::Int,
            };
            let mut wav = hound::WavWriter::create(dir.join(format!("{name}.{kind}.wav")), spec).unwrap();
            for sample in resampled(pcm, RATE as u32, 16_000) {
                wav.write_sample((sample.clamp(-1.0, 1.0) * 32_767.0) as i16).unwrap();
            }
            wav.finalize().unwrap();
        }
        format!("{{{name}}} / {estoi:.2}")
    }
}

/// The first seconds of `voice`, five times.
fn now_and_then(voice: &[f32], len: usize) -> Vec<f32> {
    let mut near = vec![0.0; len];
    let voice = &voice[..voice.len().min(NEAR_LASTS)];
    for start in [8, DOUBLE_FROM, 20, 26, 38].map(|s| s * RATE) {
        near[start..start + voice.len()].copy_from_slice(voice);
    }
    near
}

struct Run {
    out: Vec<f32>,
    /// Whether each block would have been sent.
    open: Vec<bool>,
    /// Blocks until the echo was found.
    found: Option<usize>,
    /// Percent of the time in which noise suppression worked.
    suppressed: f32,
}

fn run(stages: Stages, far: Option<&[f32]>, mic: &[f32]) -> Run {
    let mut chain = Chain::new();
    chain.set(stages);
    let mut run = Run { out: Vec::with_capacity(mic.len()), open: Vec::new(), found: None, suppressed: 0.0 };
    let (mut hold, blocks) = (0, mic.len() / BLOCK);
    for (i, block) in mic.chunks_exact(BLOCK).enumerate() {
        if let Some(far) = far {
            chain.played(far[i * BLOCK..(i + 1) * BLOCK].try_into().unwrap());
        }
        let mut block: [f32; BLOCK] = block.try_into().unwrap();
        let found = chain.work(&mut block, hold == 0);
        hold = if found.speech >= 0.5 { HANG_OVER } else { hold.saturating_sub(1) };
        run.open.push(hold > 0);
        run.out.extend(block);
        if chain.cancels_echo() && run.found.is_none() {
            run.found = Some(i);
        }
        run.suppressed += 100.0 * f32::from(u8::from(chain.suppresses_noise())) / blocks as f32;
    }
    run
}

/// Which blocks of the microphone a friend gets, pre-roll included.
fn sent(mic: &[f32]) -> Vec<bool> {
    let mut capture = Capture::new(FrameLen::Ms10, 32_000).unwrap();
    let mut sent = vec![false; mic.len() / BLOCK];
    for block in mic.chunks_exact(BLOCK) {
        capture.frame(block, &mut |voice| sent[voice.time as usize] = true);
    }
    sent
}

impl Room {
    /// The direct sound after 45 ms and a diffuse tail.
    fn response(&self) -> Vec<f32> {
        let (delay, tail) = (RATE * 45 / 1000, (self.rt60 * RATE as f32) as usize);
        let mut dice = Dice(5);
        let mut response = vec![0.0; delay + tail.max(1)];
        response[delay] = 1.0;
        for (i, sample) in response[delay..].iter_mut().enumerate().skip(60) {
            *sample = dice.bell() * 0.06 * 10f32.powf(-3.0 * i as f32 / tail as f32);
        }
        let mut smooth = 0.0;
        for sample in &mut response {
            smooth = 0.6 * smooth + 0.4 * *sample;
            *sample = smooth;
        }
        let energy = response.iter().map(|s| s * s).sum::<f32>().sqrt();
        let gain = 10f32.powf(self.gain / 20.0) / energy;
        response.iter_mut().for_each(|s| *s *= gain);
        response
    }
}

fn convolved(pcm: &[f32], response: &[f32], clips: bool) -> Vec<f32> {
    let pcm: Vec<f32> = pcm.iter().map(|s| if clips { (s * 3.0).tanh() / 3.0 } else { *s }).collect();
    let span = (pcm.len() + response.len()).next_power_of_two();
    let mut planner = realfft::RealFftPlanner::<f32>::new();
    let (forward, backward) = (planner.plan_fft_forward(span), planner.plan_fft_inverse(span));
    let spectrum = |pcm: &[f32]| {
        let mut time = vec![0.0; span];
        time[..pcm.len()].copy_from_slice(pcm);
        let mut bins = forward.make_output_vec();
        forward.process(&mut time, &mut bins).unwrap();
        bins
    };
    let (mut bins, other) = (spectrum(&pcm), spectrum(response));
    bins.iter_mut().zip(&other).for_each(|(a, b)| *a *= b);
    let last = bins.len() - 1;
    (bins[0].im, bins[last].im) = (0.0, 0.0);
    let mut time = vec![0.0; span];
    backward.process(&mut bins, &mut time).unwrap();
    time.iter().take(pcm.len()).map(|s| s / span as f32).collect()
}

/// As a clock that is off by `ppm` takes it.
fn drifted(pcm: &[f32], ppm: f64) -> Vec<f32> {
    let at = |t: f64| -> f32 {
        let first = t.floor() as i64 - 15;
        let tap = |i: i64| {
            let x = std::f64::consts::PI * (t - i as f64);
            let sinc = if x.abs() < 1e-9 { 1.0 } else { x.sin() / x };
            let sample = usize::try_from(i).ok().and_then(|i| pcm.get(i)).copied().unwrap_or(0.0);
            f64::from(sample) * sinc * (0.5 + 0.5 * (x / 17.0).cos())
        };
        (first..first + 32).map(tap).sum::<f64>() as f32
    };
    (0..pcm.len()).map(|i| at(i as f64 * (1.0 + ppm * 1e-6))).collect()
}

fn pink(len: usize, level: f32, seed: u32) -> Vec<f32> {
    let (mut dice, mut b) = (Dice(seed), [0.0f32; 3]);
    let mut pcm: Vec<f32> = (0..len)
        .map(|_| {
            // Three poles whose sum falls by 3 dB per octave (Paul Kellet's coefficients).
            let white = dice.bell();
            b[0] = 0.99765 * b[0] + white * 0.099_046;
            b[1] = 0.963 * b[1] + white * 0.296_516_4;
            b[2] = 0.57 * b[2] + white * 1.052_691_3;
            b[0] + b[1] + b[2] + white * 0.1848
        })
        .collect();
    let gain = 10f32.powf((level - dbfs(&pcm)) / 20.0);
    pcm.iter_mut().for_each(|s| *s *= gain);
    pcm
}

/// Of the mains, -39 dBFS, over a quiet room.
fn hum(len: usize) -> Vec<f32> {
    let tone = |i: usize, hz: f64| (std::f64::consts::TAU * hz * i as f64 / RATE as f64).sin() as f32;
    let harmonics = [(50.0, 0.014), (150.0, 0.007), (250.0, 0.004), (350.0, 0.003)];
    let hum = |i: usize| harmonics.iter().map(|(hz, gain)| gain * tone(i, *hz)).sum::<f32>();
    pink(len, -75.0, 9).into_iter().enumerate().map(|(i, room)| room + hum(i)).collect()
}

/// Somebody types five keys a second next to the microphone, peaks to -8 dBFS, in a quiet room.
fn keyboard(len: usize) -> Vec<f32> {
    let (mut dice, mut pcm, mut at) = (Dice(5), pink(len, -75.0, 9), RATE / 10);
    while at + 1_500 < len {
        let (gain, low, high) =
            (0.1 + 0.3 * dice.roll(), 1_500.0 + 2_500.0 * dice.roll(), 4_000.0 + 3_000.0 * dice.roll());
        for i in 0..1_500 {
            let t = i as f32 / RATE as f32 * std::f32::consts::TAU;
            let ring = 0.5 * (low * t).sin() + 0.3 * (high * t).sin() + 0.3 * dice.bell();
            pcm[at + i] += gain * (-(i as f32) / 240.0).exp() * ring;
        }
        at += ((0.08 + 0.25 * dice.roll()) * RATE as f32) as usize;
    }
    pcm
}

fn read(name: &str) -> Vec<f32> {
    let path = format!("{}/../client/assets/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut wav = hound::WavReader::open(path).unwrap();
    let pcm: Vec<f32> = wav.samples::<i16>().map(|s| f32::from(s.unwrap()) / 32_768.0).collect();
    resampled(&pcm, wav.spec().sample_rate, RATE as u32)
}

fn resampled(pcm: &[f32], from: u32, to: u32) -> Vec<f32> {
    let (mut out, mut resampler) = (Vec::new(), Resampler::new(from, to).unwrap());
    resampler.push(pcm, &mut out);
    resampler.finish(&mut out);
    out
}

fn dbfs(pcm: &[f32]) -> f32 {
    10.0 * (pcm.iter().map(|s| s * s).sum::<f32>() / pcm.len().max(1) as f32).max(1e-12).log10()
}

/// The level of the blocks within 25 dB of the loudest.
fn speaking(pcm: &[f32]) -> f32 {
    let levels: Vec<f32> = pcm.chunks_exact(BLOCK).map(dbfs).collect();
    let loudest = levels.iter().copied().fold(f32::MIN, f32::max);
    let spoken: Vec<f32> =
        pcm.chunks_exact(BLOCK).filter(|b| dbfs(b) > loudest - 25.0).flatten().copied().collect();
    dbfs(&spoken)
}

/// Microseconds of the processor for each of `parts`, the best of five.
fn best(parts: usize, work: impl Fn()) -> f64 {
    let start = Instant::now();
    // What Linux counts for this thread, so that other programs do not count; elsewhere the time that passes.
    let spent = || {
        let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
        let nanos = counted.and_then(|line| line.split(' ').next()?.parse::<f64>().ok());
        nanos.map_or_else(|| start.elapsed().as_secs_f64() * 1e6, |nanos| nanos / 1e3)
    };
    let once = |_| {
        let before = spent();
        work();
        (spent() - before) / parts as f64
    };
    (0..5).map(once).fold(f64::MAX, f64::min)
}

fn share(which: impl Iterator<Item = usize>, is: impl Fn(usize) -> bool) -> f32 {
    let (mut yes, mut all) = (0, 0);
    which.for_each(|i| {
        all += 1;
        yes += u32::from(is(i));
    });
    100.0 * yes as f32 / all.max(1) as f32
}

struct Dice(u32);

impl Dice {
    fn roll(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 >> 8) as f32 / (1 << 24) as f32
    }

    /// About normal, variance 1.
    fn bell(&mut self) -> f32 {
        (0..6).map(|_| self.roll() - 0.5).sum::<f32>() * 2f32.sqrt()
    }
}

const RATE: usize = 48_000;
const BLOCK: usize = 480;
/// Blocks a gate stays open after a word, as in a call.
const HANG_OVER: usize = 36;
/// Seconds: both talk; only the friend does.
const DOUBLE_FROM: usize = 32;
/// In samples.
const NEAR_LASTS: usize = 37 * RATE / 10;
const SILENT_FROM: usize = 43;
const SILENT_UNTIL: usize = 48;
const ROOMS: [Room; 9] = [
    Room { name: "headset", gain: -200.0, rt60: 0.01, ppm: 0.0, clips: false },
    Room { name: "headset that leaks, -45 dB", gain: -45.0, rt60: 0.02, ppm: 0.0, clips: false },
    Room { name: "loudspeaker at -20 dB, RT60 0.3 s", gain: -20.0, rt60: 0.3, ppm: 0.0, clips: false },
    Room { name: "loudspeaker at -6 dB", gain: -6.0, rt60: 0.3, ppm: 0.0, clips: false },
    Room { name: "loudspeaker at 0 dB", gain: 0.0, rt60: 0.3, ppm: 0.0, clips: false },
    Room { name: "at -6 dB, clocks 50 ppm apart", gain: -6.0, rt60: 0.3, ppm: 50.0, clips: false },
    Room { name: "at -6 dB, clocks 100 ppm apart", gain: -6.0, rt60: 0.3, ppm: 100.0, clips: false },
    Room { name: "at -6 dB, clocks -100 ppm apart", gain: -6.0, rt60: 0.3, ppm: -100.0, clips: false },
    Room { name: "at -6 dB, clipping, RT60 0.5 s", gain: -6.0, rt60: 0.5, ppm: 0.0, clips: true },
];
