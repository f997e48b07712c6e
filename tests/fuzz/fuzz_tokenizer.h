/* fuzz_tokenizer.h - the tokenizer of preset tiny, made once by a target that needs one.
 */
#ifndef SA2_TESTS_FUZZ_FUZZ_TOKENIZER_H
#define SA2_TESTS_FUZZ_FUZZ_TOKENIZER_H

#include "loader/vocab_file.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/test_files.h"
#include "tokenizer/encode.h"

/* Lives until the end of the program. Encoders are made for each input: what one keeps outside its arena, a
 * search for leaks does not find through the arena. */
static inline sa2_tokenizer *fuzz_tokenizer(void)
{
    char path[1024];
    sa2_tokenizer *tokenizer = NULL;
    sa2_vocab_file vocab = {0};
    sa2_error err = {0};
    sa2_status st =
        sa2_vocab_file_load(&vocab, test_data(path, sizeof path, "golden/tiny_tokenizer"), &err);
    sa2_tokenizer_source source = {.vocab = vocab.vocab,
                                   .merges = vocab.merges,
                                   .added = vocab.added,
                                   .n_vocab = (size_t)vocab.n_vocab,
                                   .n_merges = (size_t)vocab.n_merges,
                                   .n_added = (size_t)vocab.n_added};
    if (st == SA2_OK)
        st = sa2_tokenizer_create(&tokenizer, &source, &err);
    fuzz_expect(st == SA2_OK, err.message);
    sa2_vocab_file_destroy(&vocab);
    return tokenizer;
}

static inline sa2_encoder *fuzz_encoder(const sa2_tokenizer *tokenizer)
{
    sa2_encoder *encoder = NULL;
    sa2_error err = {0};
    fuzz_expect(sa2_encoder_create(&encoder, tokenizer, &err) == SA2_OK, err.message);
    return encoder;
}

#endif
