//! Starts wards, watches their pulse, and heals the silent ones.
