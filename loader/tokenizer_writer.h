/* tokenizer_writer.h - a vocabulary as the six tokenizer files of a release.
 */
#ifndef SA2_LOADER_TOKENIZER_WRITER_H
#define SA2_LOADER_TOKENIZER_WRITER_H

#include "kernels/base/status.h"
#include "loader/vocab_file.h"

/* Writes vocab.json, merges.txt, tokenizer.json, tokenizer_config.json, special_tokens_map.json and
 * added_tokens.json into a folder. Needs vocab->eos and vocab->pad.
 * Errors: SA2_ERR_IO with the file; SA2_ERR_NOMEM. */
sa2_status sa2_tokenizer_write(const char *folder, const sa2_vocab_file *vocab, int max_positions,
                               sa2_error *err);

#endif
