/* synthetic_vocab.h - the tokenizer of a preset, in memory.
 *
 * 1000 byte-level BPE entries (256 bytes, 744 merges learned from chat text), placeholders up to the
 * preset's number of entries, then the release's added tokens in the release's order: 22 of Qwen2.5,
 * 31 of Step-Audio 2, <audio_0> to <audio_6561>.
 */
#ifndef SA2_LOADER_SYNTHETIC_VOCAB_H
#define SA2_LOADER_SYNTHETIC_VOCAB_H

#include "kernels/base/status.h"
#include "loader/preset.h"
#include "loader/vocab_file.h"

/* The caller owns *vocab: sa2_vocab_file_destroy(). Errors: SA2_ERR_NOMEM. */
sa2_status sa2_synthetic_vocab(sa2_vocab_file *vocab, const sa2_preset *preset, sa2_error *err);

#endif
