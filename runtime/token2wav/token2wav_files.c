#include "runtime/token2wav/token2wav_files.h"

#include <stdio.h>

#include "runtime/pack_map.h"

sa2_status sa2_token2wav_place(char *path, size_t bytes, const char *model, sa2_error *err)
{
    int n = snprintf(path, bytes, sa2_pack_is(model) ? "%s" : "%s/token2wav", model);
    if (n < 0 || (size_t)n >= bytes)
        return sa2_fail(err, SA2_ERR_IO, "%.200s...: the path is too long", model);
    return SA2_OK;
}

sa2_status sa2_token2wav_files_open(sa2_token2wav_files *files, const char *path, sa2_error *err)
{
    *files = (sa2_token2wav_files){.path = path};
    if (!sa2_pack_is(path))
        return SA2_OK;
    sa2_status st = sa2_pack_open(&files->pack, path, err);
    if (st != SA2_OK || sa2_pack_find(files->pack, "file/token2wav/flow.yaml") != NULL)
        return st;
    sa2_token2wav_files_close(files);
    return sa2_fail(err, SA2_ERR_FORMAT, "%s: made of a folder without token2wav/", path);
}

void sa2_token2wav_files_close(sa2_token2wav_files *files)
{
    sa2_pack_close(files->pack);
    *files = (sa2_token2wav_files){0};
}

sa2_status sa2_token2wav_files_map(const sa2_token2wav_files *files, sa2_tensor_map **map,
                                   sa2_token2wav_file file, sa2_error *err)
{
    if (files->pack != NULL)
        return sa2_pack_map_open(map, files->pack, sa2_pack_token2wav_part(file), err);
    return sa2_token2wav_map_open(map, files->path, file, err);
}

sa2_status sa2_token2wav_files_config(const sa2_token2wav_files *files, sa2_flow_config *config,
                                      sa2_error *err)
{
    char path[4096];
    const char *text = NULL;
    size_t bytes = 0;
    snprintf(path, sizeof path, "%s/flow.yaml", files->path);
    if (files->pack == NULL)
        return sa2_flow_yaml_read(config, path, err);
    sa2_status st = sa2_pack_file(files->pack, "token2wav/flow.yaml", &text, &bytes, err);
    return st == SA2_OK ? sa2_flow_yaml_parse(config, text, bytes, path, err) : st;
}

sa2_status sa2_token2wav_look(sa2_flow_config *config, char *place, size_t bytes, const char *model,
                              sa2_error *err)
{
    sa2_token2wav_files files = {0};
    sa2_status st = sa2_token2wav_place(place, bytes, model, err);
    if (st == SA2_OK)
        st = sa2_token2wav_files_open(&files, place, err);
    if (st == SA2_OK)
        st = sa2_token2wav_files_config(&files, config, err);
    sa2_token2wav_files_close(&files);
    return st;
}
