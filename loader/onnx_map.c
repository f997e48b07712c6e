#include "loader/onnx_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"
#include "loader/mapped_file.h"
#include "loader/onnx.h"
#include "loader/token2wav_tensors.h"

/* What a map of an ONNX file owns besides its names. */
typedef struct onnx_source {
    sa2_mapped_file file; /* zero when the bytes are the caller's */
    sa2_onnx_graph graph;
    const sa2_onnx_node **nodes; /* of the graph, by name */
    bool *claimed;               /* by initializer: a name led to it */
    const char *origin;          /* while the map is made */
    sa2_onnx_model model;
} onnx_source;

static void close_source(void *thing)
{
    onnx_source *source = thing;
    free(source->claimed);
    free(source->nodes);
    sa2_onnx_close(&source->graph);
    sa2_mapped_file_close(&source->file);
    free(source);
}

/* ---- values made on demand ---- */

/* A sa2_tensor_maker: the context is the initializer's values. */
static sa2_status make_copy(const void *context, const sa2_tensor_entry *entry, int64_t first,
                            int64_t count, void *out, sa2_error *err)
{
    (void)entry;
    (void)err;
    const unsigned char *values = context;
    if (count > 0)
        memcpy(out, values + (size_t)first * sizeof(float), (size_t)count * sizeof(float));
    return SA2_OK;
}

/* A sa2_tensor_maker: out is [rows, cols], the values are [cols, rows]. Rows are made a few at a
 * time, so that a cache line of the values serves all of them. */
static sa2_status make_transposed(const void *context, const sa2_tensor_entry *entry, int64_t first,
                                  int64_t count, void *out, sa2_error *err)
{
    enum { ROWS = 16 };
    (void)err;
    const unsigned char *values = context;
    float *to = out;
    int64_t rows = entry->tensor.shape[0], cols = entry->tensor.shape[1], end = first + count;
    for (int64_t row = first / cols; row * cols < end; row += ROWS) {
        int64_t n_rows = rows - row < ROWS ? rows - row : ROWS;
        for (int64_t col = 0; col < cols; col++) {
            for (int64_t r = row; r < row + n_rows; r++) {
                int64_t i = r * cols + col;
                if (i >= first && i < end)
                    memcpy(&to[i - first], values + (size_t)(col * rows + r) * sizeof(float),
                           sizeof(float));
            }
        }
    }
    return SA2_OK;
}

static sa2_status add_initializer(sa2_tensor_map *map, const onnx_source *source, const char *name,
                                  const sa2_onnx_initializer *t, bool transposed, sa2_error *err)
{
    sa2_tensor tensor = {.dtype = SA2_F32, .ndim = t->ndim > 0 ? t->ndim : 1, .shape = {1}};
    memcpy(tensor.shape, t->shape, (size_t)t->ndim * sizeof t->shape[0]);
    if (transposed) {
        tensor.shape[0] = t->shape[1];
        tensor.shape[1] = t->shape[0];
    }
    tensor.stride = sa2_tensor_row_count(&tensor);
    if (transposed)
        return sa2_tensor_map_add_made(map, name, source->origin, tensor, make_transposed,
                                       t->values, err);
    if ((uintptr_t)t->values % sizeof(float) != 0)
        return sa2_tensor_map_add_made(map, name, source->origin, tensor, make_copy, t->values,
                                       err);
    memcpy(&tensor.data, &t->values, sizeof tensor.data); /* the map never writes to it */
    return sa2_tensor_map_add(map, name, source->origin, tensor, err);
}

/* ---- finding ---- */

static int compare_nodes(const void *a, const void *b)
{
    const sa2_onnx_node *const *x = a, *const *y = b;
    return sa2_onnx_compare((*x)->name, (*y)->name);
}

static const sa2_onnx_node *find_node(const onnx_source *source, const char *name)
{
    sa2_onnx_node key = {.name = {name, strlen(name)}};
    const sa2_onnx_node *wanted = &key;
    const sa2_onnx_node **found = bsearch(&wanted, source->nodes, source->graph.n_nodes,
                                          sizeof *source->nodes, compare_nodes);
    return found != NULL ? *found : NULL;
}

/* The initializer of a tensor: what its node reads, else what the release calls it. A product or a
 * sum may have its operands in either order. */
static const sa2_onnx_initializer *find_initializer(const onnx_source *source,
                                                    const sa2_onnx_name *name)
{
    const sa2_onnx_node *node = find_node(source, name->node);
    if (node != NULL && sa2_onnx_is(node->op_type, name->op_type)) {
        const sa2_onnx_initializer *t = NULL;
        if ((size_t)name->input < node->n_inputs)
            t = sa2_onnx_find(&source->graph, node->inputs[name->input]);
        if (t == NULL && node->n_inputs == 2)
            t = sa2_onnx_find(&source->graph, node->inputs[1 - name->input % 2]);
        if (t != NULL)
            return t;
    }
    sa2_onnx_text text = {name->initializer, strlen(name->initializer)};
    return sa2_onnx_find(&source->graph, text);
}

static bool has(const onnx_source *source, const int *layers, const char *name)
{
    sa2_onnx_name of;
    return sa2_onnx_name_of(source->model, name, layers, &of) &&
           find_initializer(source, &of) != NULL;
}

/* The names that a file with as many blocks and layers as this one has. The shapes in the list mean
 * nothing yet. */
static sa2_status list_names(const onnx_source *source, sa2_tensor_list *list, int *layers,
                             sa2_error *err)
{
    char name[96];
    if (source->model == SA2_ONNX_SPEECH_TOKENIZER) {
        sa2_speech_tokenizer_dims dims = {.mel = 1, .width = 1, .ffn = 1, .digits = 1, .memory = 1};
        do
            snprintf(name, sizeof name, "encoder.blocks.%d.attn.query.weight", dims.blocks);
        while (has(source, layers, name) && ++dims.blocks < SA2_LIMIT_LAYERS);
        return sa2_speech_tokenizer_tensors(list, &dims, err);
    }
    sa2_speaker_dims dims = {.mel = SA2_SPEAKER_HEAD_REDUCTION,
                             .head_channels = 1,
                             .initial = 1 << SA2_SPEAKER_BLOCKS,
                             .growth = 1 << SA2_SPEAKER_BLOCKS,
                             .bottleneck = 1,
                             .gate = 1,
                             .embedding = 1};
    for (int b = 0; b < SA2_SPEAKER_BLOCKS; b++) {
        do
            snprintf(name, sizeof name, "xvector.block%d.tdnnd%d.nonlinear1.batchnorm.running_mean",
                     b + 1, dims.layers[b] + 1);
        while (has(source, layers, name) && ++dims.layers[b] < SA2_LIMIT_LAYERS);
        layers[b] = dims.layers[b];
    }
    return sa2_speaker_tensors(list, &dims, err);
}

/* ---- the map ---- */

static sa2_status add_named(sa2_tensor_map *map, onnx_source *source, const char *canonical,
                            const int *layers, sa2_error *err)
{
    sa2_onnx_name name;
    const sa2_onnx_initializer *t = NULL;
    if (sa2_onnx_name_of(source->model, canonical, layers, &name))
        t = find_initializer(source, &name);
    if (t == NULL)
        return sa2_fail_also(err, SA2_ERR_FORMAT,
                             "%s: %s: neither node %s nor initializer %s leads to it",
                             source->origin, canonical, name.node, name.initializer);
    if (t->data_type != SA2_ONNX_FLOAT || t->count < 1)
        return sa2_fail_also(err, SA2_ERR_FORMAT,
                             "%s: %s: %lld values of data type %d, at least one of type %d (float) "
                             "expected",
                             source->origin, canonical, (long long)t->count, t->data_type,
                             SA2_ONNX_FLOAT);
    if (name.transposed && t->ndim != 2)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s: %s: %d dimensions, 2 expected",
                             source->origin, canonical, t->ndim);
    source->claimed[t - source->graph.initializers] = true;
    return add_initializer(map, source, canonical, t, name.transposed, err);
}

/* Floats that no name leads to, under their own names. */
static sa2_status add_strangers(sa2_tensor_map *map, const onnx_source *source, sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (size_t i = 0; i < source->graph.n_initializers; i++) {
        const sa2_onnx_initializer *t = &source->graph.initializers[i];
        char name[SA2_LIMIT_TENSOR_NAME_BYTES + 1];
        if (source->claimed[i] || t->data_type != SA2_ONNX_FLOAT || t->count < 1)
            continue;
        if (t->name.bytes < 1 || t->name.bytes >= sizeof name ||
            memchr(t->name.text, '\0', t->name.bytes) != NULL) {
            st = sa2_fail_also(err, SA2_ERR_LIMIT,
                               "%s: an initializer's name of %zu bytes, 1 to %d without zeros can "
                               "be read",
                               source->origin, t->name.bytes, SA2_LIMIT_TENSOR_NAME_BYTES);
            continue;
        }
        memcpy(name, t->name.text, t->name.bytes);
        name[t->name.bytes] = '\0';
        sa2_status added = add_initializer(map, source, name, t, false, err);
        st = added != SA2_OK ? added : st;
    }
    return st;
}

static sa2_status fill(sa2_tensor_map *map, onnx_source *source, sa2_error *err)
{
    int layers[SA2_SPEAKER_BLOCKS] = {0};
    sa2_tensor_list list = {0};
    sa2_error report = {0}; /* lines are added to it, so it starts empty */
    sa2_status st = list_names(source, &list, layers, &report);
    for (int i = 0; i < list.n; i++) {
        sa2_status added = add_named(map, source, list.items[i].name, layers, &report);
        st = added != SA2_OK ? added : st;
    }
    if (st == SA2_OK)
        st = add_strangers(map, source, &report);
    sa2_tensor_list_destroy(&list);
    if (st != SA2_OK)
        return sa2_fail(err, st, "%s", report.message);
    return SA2_OK;
}

/* The graph and its nodes in order. */
static sa2_status open_source(onnx_source *source, const void *bytes, size_t n, sa2_error *err)
{
    sa2_status st = sa2_onnx_open(&source->graph, bytes, n, err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "%s", source->origin);
    source->nodes = calloc(source->graph.n_nodes + 1, sizeof *source->nodes);
    source->claimed = calloc(source->graph.n_initializers + 1, sizeof *source->claimed);
    if (source->nodes == NULL || source->claimed == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for %zu nodes", source->origin,
                        source->graph.n_nodes);
    for (size_t i = 0; i < source->graph.n_nodes; i++)
        source->nodes[i] = &source->graph.nodes[i];
    qsort(source->nodes, source->graph.n_nodes, sizeof *source->nodes, compare_nodes);
    return SA2_OK;
}

/* Takes the source, whatever happens. bytes are those of its file when that is open. */
static sa2_status make_map(sa2_tensor_map **map, onnx_source *source, const void *bytes, size_t n,
                           sa2_error *err)
{
    sa2_tensor_map *made = NULL;
    sa2_status st = open_source(source, bytes, n, err);
    if (st == SA2_OK)
        st = sa2_tensor_map_create(&made, err);
    if (st != SA2_OK) {
        close_source(source);
        return st;
    }
    st = sa2_tensor_map_keep(made, source, close_source, err);
    if (st == SA2_OK)
        st = fill(made, source, err);
    if (st != SA2_OK) {
        sa2_tensor_map_destroy(made);
        return st;
    }
    *map = made;
    return SA2_OK;
}

static onnx_source *create_source(sa2_onnx_model model, const char *origin)
{
    onnx_source *source = calloc(1, sizeof *source);
    if (source != NULL) {
        source->origin = origin;
        source->model = model;
    }
    return source;
}

sa2_status sa2_onnx_map_parse(sa2_tensor_map **map, sa2_onnx_model model, const void *bytes,
                              size_t n, const char *origin, sa2_error *err)
{
    onnx_source *source = create_source(model, origin);
    if (source == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory", origin);
    return make_map(map, source, bytes, n, err);
}

sa2_status sa2_onnx_map_open(sa2_tensor_map **map, sa2_onnx_model model, const char *path,
                             sa2_error *err)
{
    onnx_source *source = create_source(model, path);
    if (source == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory", path);
    sa2_status st = sa2_mapped_file_open(&source->file, path, err);
    if (st != SA2_OK) {
        close_source(source);
        return st;
    }
    return make_map(map, source, source->file.data, source->file.bytes, err);
}
