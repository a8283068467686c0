//! Pulses that cost nothing, and a monitor that tells silence from starvation.
