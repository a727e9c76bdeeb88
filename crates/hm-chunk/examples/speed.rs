//! Indicative speeds of the parts: `cargo run --release -p hm-chunk --example speed`.

/// Seconds of CPU of this thread: the machine may be busy with other things.
fn cpu() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock exists, and `now` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut out);
    out
}

fn gbs(name: &str, bytes: usize, mut work: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..7 {
        let began = cpu();
        work();
        best = best.min(cpu() - began);
    }
    println!("{name:24} {:6.2} GB/s", bytes as f64 / best / 1e9);
}

fn main() {
    let data = noise(128 << 20);
    let cutting = hm_chunk::Cutting::new(&[7; 32]);
    let mut lengths = Vec::new();
    gbs("cut", data.len(), || {
        lengths.clear();
        let mut rest = &data[..];
        while !rest.is_empty() {
            let n = cutting.cut(rest);
            lengths.push(n);
            rest = &rest[n..];
        }
    });
    lengths.sort_unstable();
    println!(
        "chunks {} mean {} p1 {} p50 {} p99 {} at max {}",
        lengths.len(),
        data.len() / lengths.len(),
        lengths[lengths.len() / 100],
        lengths[lengths.len() / 2],
        lengths[lengths.len() * 99 / 100],
        lengths.iter().filter(|n| **n == 256 * 1024).count()
    );
    gbs("digest a chunk", data.len(), || {
        for chunk in data.chunks(64 << 10) {
            std::hint::black_box(hm_chunk::chunk_digest(chunk));
        }
    });
    gbs("whole", data.len(), || {
        let mut whole = hm_chunk::Whole::new();
        for chunk in data.chunks(1 << 20) {
            whole.update(chunk);
        }
        std::hint::black_box(whole.digest());
    });
    gbs("whole in odd pieces", data.len(), || {
        let mut whole = hm_chunk::Whole::new();
        for chunk in data.chunks(65_537) {
            whole.update(chunk);
        }
        std::hint::black_box(whole.digest());
    });
    // Without a name, so that nothing is left behind.
    let path = std::env::temp_dir().join(format!("hm-chunk-speed-{}", std::process::id()));
    let (Ok(()), Ok(file)) = (std::fs::write(&path, &data), std::fs::File::open(&path)) else {
        return println!("no room for a file");
    };
    let _ = std::fs::remove_file(&path);
    gbs("scan a file", data.len(), || {
        let opened = file.try_clone().map_err(hm_chunk::Error::from);
        if let Ok(mut scanner) = opened.and_then(|file| hm_chunk::Scanner::open(file, &[7; 32])) {
            while scanner.page(1024).is_ok_and(|page| !page.is_empty()) {}
            std::hint::black_box(scanner.root());
        }
    });
}
