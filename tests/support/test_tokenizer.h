/* test_tokenizer.h - a tokenizer from the tokenizer.json of a folder.
 */
#ifndef SA2_TESTS_SUPPORT_TEST_TOKENIZER_H
#define SA2_TESTS_SUPPORT_TEST_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenizer/encode.h"
#include "tokenizer/special.h"
#include "tokenizer/tokenizer.h"

/* A tokenizer with all that goes with it. */
typedef struct test_tokenizer {
    sa2_tokenizer *tokenizer;
    sa2_encoder *encoder;
    sa2_special special;
} test_tokenizer;

/* The contents of <folder>/tokenizer.json as the constructor takes them; fails the test when they
 * cannot be read. */
typedef struct test_tokenizer_file {
    sa2_tokenizer_source source;
    void *document; /* owns the strings */
    sa2_vocab_entry *vocab;
    sa2_merge_entry *merges;
    sa2_added_entry *added;
} test_tokenizer_file;

void test_tokenizer_file_read(test_tokenizer_file *file, const char *folder);
void test_tokenizer_file_free(test_tokenizer_file *file);

void test_tokenizer_load(test_tokenizer *t, const char *folder);
void test_tokenizer_free(test_tokenizer *t);

/* That of preset tiny, in tests/golden/tiny_tokenizer. */
void test_tokenizer_tiny(test_tokenizer *t);

/* That of the release, from the folder that the environment variable SA2_QWEN2_TOKENIZER names;
 * false, with a line that says what is skipped, when it is not set. */
bool test_tokenizer_release(test_tokenizer *t);

/* Rows of the adaptor for one chunk: language_model.md gives both rules in closed form. */
int test_audio_patches(int64_t n_samples, bool fork_rule);

#endif
