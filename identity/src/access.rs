//! Access tokens, ours and those minted elsewhere.
