/* Any bytes as model.safetensors.index.json beside two shards that are right. */
#include "loader/safetensors.h"
#include "loader/safetensors_writer.h"
#include "tests/fuzz/fuzz_maps.h"
#include "tests/support/test_files.h"

/* libFuzzer has no place for what a target makes once. */
static char folder[256], path[512];

static void write_shard(const char *name, const char *tensor)
{
    char shard[512];
    sa2_tensor_list list = {0};
    sa2_safetensors_writer *writer = NULL;
    snprintf(shard, sizeof shard, "%s/%s", folder, name);
    sa2_tensor_list_add(&list, SA2_U8, 1, (int64_t[]){4}, NULL, "%s", tensor);
    fuzz_expect(sa2_safetensors_writer_create(&writer, shard, &list, NULL, 0, NULL) == SA2_OK &&
                    sa2_safetensors_writer_append(writer, "abcd", 4, NULL) == SA2_OK &&
                    sa2_safetensors_writer_finish(writer, NULL) == SA2_OK,
                "a shard");
    sa2_safetensors_writer_destroy(writer);
    sa2_tensor_list_destroy(&list);
}

static void remove_folder(void)
{
    test_folder_remove(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    test_folder_create(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    write_shard("m-1", "a");
    write_shard("m-2", "b");
    return atexit(remove_folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    test_write_file(path, data, n);
    fuzz_expect_message(sa2_safetensors_open(&map, path, &err), &err);
    fuzz_read_all(map);
    sa2_tensor_map_destroy(map);
    return 0;
}
