/* Any bytes as text: ids that the vocabulary has, and a text that comes back as it is from then on. */
#include "tests/fuzz/fuzz_tokenizer.h"
#include "tokenizer/text_stream.h"

/* libFuzzer has no place for what a target makes once. */
static sa2_tokenizer *tokenizer;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    tokenizer = fuzz_tokenizer();
    return 0;
}

static void encode(sa2_encoder *encoder, const char *text, size_t n, sa2_span literal, sa2_ids *ids)
{
    sa2_error err = {0};
    sa2_ids_clear(ids);
    fuzz_expect(sa2_encode(encoder, text, n, literal, ids, &err) == SA2_OK, "ids of any text");
    for (size_t i = 0; i < ids->n; i++)
        fuzz_expect(sa2_tokenizer_token(tokenizer, ids->data[i], &(sa2_token){0}), "known ids");
}

/* The text of the ids at once and id by id. */
static void decode(const sa2_ids *ids, sa2_bytes *out)
{
    sa2_text_stream stream = {0};
    sa2_bytes whole = {0};
    sa2_error err = {0};
    sa2_bytes_clear(out);
    for (size_t i = 0; i < ids->n; i++)
        sa2_text_stream_push_id(&stream, tokenizer, ids->data[i], false, out);
    sa2_text_stream_flush(&stream, out);
    fuzz_expect(sa2_decode(tokenizer, ids->data, ids->n, false, &whole, &err) == SA2_OK,
                "text of any ids");
    fuzz_expect(whole.n == out->n &&
                    memcmp(sa2_bytes_text(&whole), sa2_bytes_text(out), out->n) == 0,
                "one text, streamed or whole");
    sa2_bytes_free(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = fuzz_copy(data, n);
    sa2_encoder *encoder = fuzz_encoder(tokenizer);
    sa2_ids ids = {0};
    sa2_bytes once = {0}, twice = {0};
    for (int literal = 0; literal < 2; literal++) {
        encode(encoder, text, n, literal ? (sa2_span){0, n} : (sa2_span){0}, &ids);
        decode(&ids, &once);
        encode(encoder, sa2_bytes_text(&once), once.n,
               literal ? (sa2_span){0, once.n} : (sa2_span){0}, &ids);
        decode(&ids, &twice);
        fuzz_expect(once.n == twice.n &&
                        memcmp(sa2_bytes_text(&once), sa2_bytes_text(&twice), once.n) == 0,
                    "well-formed normal text comes back");
    }
    sa2_bytes_free(&twice);
    sa2_bytes_free(&once);
    sa2_ids_free(&ids);
    sa2_encoder_destroy(encoder);
    free(text);
    return 0;
}
