/* vocabulary.h - the tokenizer of a release folder or native file: what loader/ reads, made into what tokenizer/ uses.
 */
#ifndef SA2_RUNTIME_VOCABULARY_H
#define SA2_RUNTIME_VOCABULARY_H

#include "kernels/base/status.h"
#include "loader/vocab_file.h"
#include "tokenizer/special.h"
#include "tokenizer/tokenizer.h"

typedef struct sa2_vocabulary {
    sa2_tokenizer *tokenizer;
    sa2_special special;
} sa2_vocabulary;

/* Errors, added to the report: SA2_ERR_IO, SA2_ERR_FORMAT with a line for each mistake. */
sa2_status sa2_vocabulary_open(sa2_vocabulary *vocabulary, const char *path, sa2_error *err);
sa2_status sa2_vocabulary_open_pack(sa2_vocabulary *vocabulary, const sa2_pack *pack,
                                    sa2_error *err);
/* From entries that are there already; they may go afterwards. */
sa2_status sa2_vocabulary_of(sa2_vocabulary *vocabulary, const sa2_vocab_file *file,
                             sa2_error *err);
void sa2_vocabulary_close(sa2_vocabulary *vocabulary);

#endif
