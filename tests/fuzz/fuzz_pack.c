/* Any bytes as a native file, also with the checksums that they should have: refused with a message, or every block can
 * be checked and every tensor read. */
#include "runtime/pack_map.h"
#include "tests/fuzz/fuzz_maps.h"
#include "tests/support/native_bytes.h"

static void read_part(sa2_pack *pack, const char *part)
{
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    sa2_status st = sa2_pack_map_open(&map, pack, part, &err);
    fuzz_expect_message(st, &err);
    fuzz_expect((st == SA2_OK) == (map != NULL), "a map, or a refusal");
    fuzz_read_all(map);
    sa2_tensor_map_destroy(map);
}

static void read_file(const void *bytes, size_t n)
{
    static const char *const parts[] = {SA2_PACK_MODEL, SA2_PACK_FLOW, SA2_PACK_VOCODER,
                                        SA2_PACK_SPEAKER, SA2_PACK_SPEECH_TOKENIZER};
    sa2_pack *pack = NULL;
    sa2_error err = {0};
    const char *text = NULL;
    size_t text_bytes = 0;
    sa2_status st = sa2_pack_parse(&pack, bytes, n, "f", &err);
    fuzz_expect_message(st, &err);
    if (st != SA2_OK)
        return;
    fuzz_expect_message(sa2_pack_check_all(pack, 1, NULL, &err), &err);
    fuzz_expect_message(sa2_pack_file(pack, "a.txt", &text, &text_bytes, &err), &err);
    size_t sum = 0;
    for (size_t i = 0; text != NULL && i < text_bytes; i++)
        sum += (unsigned char)text[i];
    fuzz_expect(sum <= 255 * text_bytes, "text that can be read");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        read_part(pack, parts[i]);
    sa2_pack_close(pack);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    unsigned char *file = fuzz_copy(data, n);
    read_file(file, n);
    test_native_seal(file, n);
    read_file(file, n);
    free(file);
    return 0;
}
