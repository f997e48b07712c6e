#include "runtime/model_files.h"

#include <stdio.h>
#include <sys/stat.h>

#include "loader/expected_tensors.h"
#include "loader/safetensors.h"
#include "runtime/pack_map.h"

/* Adds what a reader found wrong to the report and keeps the first status. */
static void note(sa2_error *report, sa2_status *first, sa2_status st, const sa2_error *found)
{
    sa2_fail_merge(report, st, found);
    if (*first == SA2_OK)
        *first = st;
}

/* whole: all shards could be read; what is missing then is missing. */
static sa2_status judge_tensors(sa2_model_files *files, bool whole, sa2_error *err)
{
    sa2_tensor_list list = {0};
    sa2_status st = sa2_model_config_complete(&files->config, files->map, whole ? err : NULL);
    if (st != SA2_OK && !whole)
        return SA2_OK; /* the tensors that tell the sizes may be in what could not be read */
    if (st == SA2_OK)
        st = sa2_expected_tensors(&list, &files->config, err);
    if (st == SA2_OK)
        st = whole ? sa2_tensor_map_check(files->map, &list, err)
                   : sa2_tensor_map_check_present(files->map, &list, err);
    sa2_tensor_list_destroy(&list);
    return st;
}

/* Adds what every reader finds, whether the others found something or not. */
static sa2_status read_folder(sa2_model_files *files, const char *folder, sa2_error *report)
{
    sa2_error found = {0};
    sa2_status st = SA2_OK;
    char path[4096];
    snprintf(path, sizeof path, "%s/config.json", folder);
    sa2_status config = sa2_model_config_read(&files->config, path, &found);
    note(report, &st, config, &found);
    found = (sa2_error){0};
    sa2_status shards = sa2_safetensors_open_partly(&files->map, folder, &found);
    note(report, &st, shards, &found);
    found = (sa2_error){0};
    if (config == SA2_OK && files->map != NULL)
        note(report, &st, judge_tensors(files, shards == SA2_OK, &found), &found);
    found = (sa2_error){0};
    if (st != SA2_OK && files->map != NULL) /* else they are judged as they are loaded */
        note(report, &st, sa2_tensor_map_check_values(files->map, &found), &found);
    found = (sa2_error){0};
    note(report, &st, sa2_vocabulary_open(&files->vocabulary, folder, &found), &found);
    return st;
}

static sa2_status read_pack(sa2_model_files *files, const char *path, sa2_error *report)
{
    sa2_error found = {0};
    sa2_pack *pack = NULL;
    const char *text = NULL;
    size_t bytes = 0;
    sa2_status st = sa2_pack_open(&pack, path, report);
    if (st == SA2_OK)
        st = sa2_pack_file(pack, "config.json", &text, &bytes, report);
    if (st == SA2_OK && text == NULL)
        st = sa2_fail(report, SA2_ERR_FORMAT, "%s: no config.json in it", path);
    if (st == SA2_OK)
        st = sa2_model_config_parse(&files->config, text, bytes, "config.json", report);
    if (st == SA2_OK)
        st = sa2_pack_map_open(&files->map, pack, SA2_PACK_MODEL, report);
    if (st == SA2_OK)
        st = judge_tensors(files, true, report);
    if (pack != NULL)
        note(report, &st, sa2_vocabulary_open_pack(&files->vocabulary, pack, &found), &found);
    sa2_pack_close(pack);
    return st;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) != 0 || S_ISDIR(info.st_mode);
}

sa2_status sa2_model_files_open(sa2_model_files *files, const char *path, sa2_error *err)
{
    *files = (sa2_model_files){0};
    sa2_error report = {0};
    sa2_status st =
        is_folder(path) ? read_folder(files, path, &report) : read_pack(files, path, &report);
    if (st == SA2_OK &&
        sa2_tokenizer_n_ids(files->vocabulary.tokenizer) > files->config.decoder.vocab)
        st = sa2_fail_also(
            &report, SA2_ERR_FORMAT, "tokenizer: ids to %d, the model has rows for %d",
            sa2_tokenizer_n_ids(files->vocabulary.tokenizer) - 1, files->config.decoder.vocab);
    if (st == SA2_OK)
        return SA2_OK;
    sa2_model_files_close(files);
    sa2_wrap(&report, st, "model %s", path);
    if (err != NULL)
        *err = report;
    return st;
}

void sa2_model_files_close(sa2_model_files *files)
{
    sa2_tensor_map_destroy(files->map);
    sa2_vocabulary_close(&files->vocabulary);
    *files = (sa2_model_files){0};
}
