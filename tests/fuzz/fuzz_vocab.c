/* Any bytes as tokenizer.json: refused with a message, or sorted arrays that a tokenizer can be made of or
 * that it refuses in turn. */
#include "tests/fuzz/fuzz_tokenizer.h"

static void encode_some(const sa2_tokenizer *tokenizer)
{
    static const char text[] = "a b  <x>abab\n\xe4\xbd\xa0\xff";
    sa2_encoder *encoder = fuzz_encoder(tokenizer);
    sa2_ids ids = {0};
    sa2_error err = {0};
    fuzz_expect(sa2_encode(encoder, text, sizeof text - 1, (sa2_span){0}, &ids, &err) == SA2_OK,
                "ids of any text");
    for (size_t i = 0; i < ids.n; i++)
        fuzz_expect(sa2_tokenizer_token(tokenizer, ids.data[i], &(sa2_token){0}), "known ids");
    sa2_ids_free(&ids);
    sa2_encoder_destroy(encoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    sa2_vocab_file vocab = {0};
    sa2_tokenizer *tokenizer = NULL;
    sa2_error err = {0};
    char *text = fuzz_copy(data, n);
    sa2_status st = sa2_vocab_file_parse(&vocab, text, n, "t", &err);
    fuzz_expect_message(st, &err);
    free(text);
    for (int i = 1; st == SA2_OK && i < vocab.n_vocab; i++)
        fuzz_expect(vocab.vocab[i].id > vocab.vocab[i - 1].id, "entries by rising id");
    for (int i = 1; st == SA2_OK && i < vocab.n_added; i++)
        fuzz_expect(vocab.added[i].id > vocab.added[i - 1].id, "added tokens by rising id");
    if (st == SA2_OK) {
        sa2_tokenizer_source source = {.vocab = vocab.vocab,
                                       .merges = vocab.merges,
                                       .added = vocab.added,
                                       .n_vocab = (size_t)vocab.n_vocab,
                                       .n_merges = (size_t)vocab.n_merges,
                                       .n_added = (size_t)vocab.n_added};
        st = sa2_tokenizer_create(&tokenizer, &source, &err);
        fuzz_expect_message(st, &err);
        if (st == SA2_OK)
            encode_some(tokenizer);
    }
    sa2_tokenizer_destroy(tokenizer);
    sa2_vocab_file_destroy(&vocab);
    return 0;
}
