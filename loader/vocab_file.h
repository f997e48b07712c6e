/* vocab_file.h - the tokenizer files of a checkpoint as plain arrays.
 *
 * tokenizer.json is preferred; vocab.json and merges.txt serve where it is missing. Added tokens: those
 * of tokenizer_config.json (added_tokens_decoder) win over tokenizer.json, and both over
 * added_tokens.json; special_tokens_map.json marks special ones and names eos and pad where
 * tokenizer_config.json does not. All strings are UTF-8; entries and merges are in byte-level symbols, as in the files.
 */
#ifndef SA2_LOADER_VOCAB_FILE_H
#define SA2_LOADER_VOCAB_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"
#include "kernels/base/vocab.h"
#include "loader/pack.h"
#include "loader/text_pool.h"

/* Everything belongs to the struct. Read-only after loading, so any number of threads may read. */
typedef struct sa2_vocab_file {
    int n_vocab;
    sa2_vocab_entry *vocab; /* by rising id */
    int n_merges;
    sa2_merge_entry *merges; /* in rank order */
    int n_added;
    sa2_added_entry *added; /* by rising id */
    const char *eos;        /* content of the token, or NULL */
    const char *pad;
    sa2_text_pool text; /* where the strings lie */
} sa2_vocab_file;

/* Reads the files of a folder.
 * Errors, all in one report with file and key: SA2_ERR_IO neither form is there; SA2_ERR_FORMAT not
 * JSON, an id twice or outside [0, SA2_LIMIT_VOCAB), a merge whose parts or result are no entries, an added
 * token in place of another entry; SA2_ERR_UNSUPPORTED no BPE, an added token that swallows spaces,
 * matches whole words only or normalised text; SA2_ERR_LIMIT above limits.h. */
sa2_status sa2_vocab_file_load(sa2_vocab_file *vocab, const char *folder, sa2_error *err);

/* The same files in a native file. */
sa2_status sa2_vocab_file_load_pack(sa2_vocab_file *vocab, const sa2_pack *pack, sa2_error *err);

/* The names of all these files. */
enum { SA2_VOCAB_FILES = 6 };
extern const char *const sa2_vocab_file_names[SA2_VOCAB_FILES];

/* From the text of a tokenizer.json alone; `origin` stands for the path. */
sa2_status sa2_vocab_file_parse(sa2_vocab_file *vocab, const char *text, size_t bytes,
                                const char *origin, sa2_error *err);

void sa2_vocab_file_destroy(sa2_vocab_file *vocab); /* zeroed is fine */

#endif
