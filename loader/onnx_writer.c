#include "loader/onnx_writer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/partial_file.h"
#include "loader/protobuf.h"
#include "loader/token2wav_tensors.h"

/* ---- a small message in memory ---- */

enum { MESSAGE_BYTES = 4096 }; /* a node with its names, or a tensor without its values */

typedef struct message {
    unsigned char bytes[MESSAGE_BYTES];
    size_t n;
} message;

static void put_varint(message *m, uint64_t x)
{
    do {
        assert(m->n < MESSAGE_BYTES);
        m->bytes[m->n++] = (unsigned char)((x & 0x7f) | (x > 0x7f ? 0x80 : 0));
        x >>= 7;
    } while (x > 0);
}

static void put_number(message *m, unsigned field, uint64_t x)
{
    put_varint(m, field << 3 | SA2_PROTOBUF_VARINT);
    put_varint(m, x);
}

/* The head of a field of `bytes` bytes, which follow. */
static void put_head(message *m, unsigned field, uint64_t bytes)
{
    put_varint(m, field << 3 | SA2_PROTOBUF_BYTES);
    put_varint(m, bytes);
}

static void put_bytes(message *m, unsigned field, const void *data, size_t bytes)
{
    put_head(m, field, bytes);
    assert(bytes <= MESSAGE_BYTES - m->n);
    memcpy(m->bytes + m->n, data, bytes);
    m->n += bytes;
}

static void put_text(message *m, unsigned field, const char *text)
{
    put_bytes(m, field, text, strlen(text));
}

/* ---- the file ---- */

/* Everything goes through it twice: the length of the graph stands before the graph, so the first
 * time it is only counted. */
typedef struct onnx_sink {
    sa2_partial_file *file; /* NULL: count */
    uint64_t counted;
    sa2_onnx_model model;
    const sa2_tensor_map *map;
    int layers[SA2_SPEAKER_BLOCKS];
    float *values, *turned; /* room for the largest tensor each */
    sa2_write_progress progress;
} onnx_sink;

static sa2_status sink_bytes(onnx_sink *sink, const void *data, size_t bytes, sa2_error *err)
{
    sink->counted += bytes;
    return sink->file != NULL ? sa2_partial_file_append(sink->file, data, bytes, err) : SA2_OK;
}

/* A message as a field of the one that is being written. */
static sa2_status sink_message(onnx_sink *sink, unsigned field, const message *m, sa2_error *err)
{
    message head = {.n = 0};
    put_head(&head, field, m->n);
    sa2_status st = sink_bytes(sink, head.bytes, head.n, err);
    return st == SA2_OK ? sink_bytes(sink, m->bytes, m->n, err) : st;
}

/* ---- nodes ---- */

static sa2_status name_of(const onnx_sink *sink, int i, sa2_onnx_name *name, sa2_error *err)
{
    const char *canonical = sa2_tensor_map_entry(sink->map, i)->name;
    if (sa2_onnx_name_of(sink->model, canonical, sink->layers, name))
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_ARG, "%s: the model has no such tensor", canonical);
}

/* The tensors [*first, ...) that one node reads, as its inputs; what is not a weight comes from a
 * value called after the node. */
static sa2_status sink_node(onnx_sink *sink, int *first, sa2_error *err)
{
    enum { MAX_INPUTS = 5, NODE = 1, INPUT = 1, OUTPUT = 2, NAME = 3, OP_TYPE = 4 };
    sa2_onnx_name name, weights[MAX_INPUTS] = {0};
    sa2_status st = name_of(sink, *first, &name, err);
    int n_inputs = 2;
    for (int i = *first; st == SA2_OK && i < sa2_tensor_map_count(sink->map); i++) {
        sa2_onnx_name next;
        st = name_of(sink, i, &next, err);
        if (st != SA2_OK || strcmp(next.node, name.node) != 0)
            break;
        weights[next.input] = next;
        if (next.input >= n_inputs)
            n_inputs = next.input + 1;
        *first = i + 1;
    }
    if (st != SA2_OK)
        return st;
    message m = {.n = 0};
    for (int i = 0; i < n_inputs; i++) {
        char value[sizeof name.node + 24];
        snprintf(value, sizeof value, "%s_input_%d", name.node, i);
        put_text(&m, INPUT, weights[i].initializer[0] != '\0' ? weights[i].initializer : value);
    }
    char output[sizeof name.node + 24];
    snprintf(output, sizeof output, "%s_output_0", name.node);
    put_text(&m, OUTPUT, output);
    put_text(&m, NAME, name.node);
    put_text(&m, OP_TYPE, name.op_type);
    return sink_message(sink, NODE, &m, err);
}

/* ---- initializers ---- */

/* values [out, in] to turned [in, out]. */
static void transpose(const float *values, float *turned, int64_t out, int64_t in)
{
    enum { ROWS = 16 };
    for (int64_t row = 0; row < out; row += ROWS)
        for (int64_t i = 0; i < in; i++)
            for (int64_t o = row; o < out && o < row + ROWS; o++)
                turned[i * out + o] = values[o * in + i];
}

static sa2_status sink_initializer(onnx_sink *sink, int index, sa2_error *err)
{
    enum { INITIALIZER = 5, DIMS = 1, DATA_TYPE = 2, NAME = 8, RAW_DATA = 9, FLOAT = 1 };
    const sa2_tensor_entry *entry = sa2_tensor_map_entry(sink->map, index);
    const sa2_tensor *t = &entry->tensor;
    sa2_onnx_name name;
    sa2_status st = name_of(sink, index, &name, err);
    if (st != SA2_OK)
        return st;
    size_t bytes = sa2_tensor_bytes(t);
    message body = {.n = 0}, head = {.n = 0};
    for (int d = 0; d < t->ndim; d++)
        put_number(&body, DIMS, (uint64_t)t->shape[name.transposed ? t->ndim - 1 - d : d]);
    put_number(&body, DATA_TYPE, FLOAT);
    put_text(&body, NAME, name.initializer);
    put_head(&body, RAW_DATA, bytes);
    put_head(&head, INITIALIZER, body.n + bytes);
    st = sink_bytes(sink, head.bytes, head.n, err);
    if (st == SA2_OK)
        st = sink_bytes(sink, body.bytes, body.n, err);
    if (st != SA2_OK || sink->file == NULL) {
        sink->counted += bytes;
        return st;
    }
    st = sa2_tensor_map_read(sink->map, entry, 0, sa2_tensor_count(t), sink->values, err);
    if (st == SA2_OK && name.transposed)
        transpose(sink->values, sink->turned, t->shape[0], t->shape[1]);
    if (st == SA2_OK)
        st = sink_bytes(sink, name.transposed ? sink->turned : sink->values, bytes, err);
    if (st == SA2_OK && sink->progress.call != NULL)
        sink->progress.call(sink->progress.context, (int64_t)bytes);
    return st;
}

/* ---- graph and model ---- */

static sa2_status sink_value(onnx_sink *sink, unsigned field, const char *name, int element_type,
                             sa2_error *err)
{
    enum { NAME = 1, TYPE = 2, TENSOR_TYPE = 1, ELEMENT_TYPE = 1 };
    message element = {.n = 0}, type = {.n = 0}, value = {.n = 0};
    put_number(&element, ELEMENT_TYPE, (uint64_t)element_type);
    put_bytes(&type, TENSOR_TYPE, element.bytes, element.n);
    put_text(&value, NAME, name);
    put_bytes(&value, TYPE, type.bytes, type.n);
    return sink_message(sink, field, &value, err);
}

static sa2_status sink_graph(onnx_sink *sink, sa2_error *err)
{
    enum { NAME = 2, INPUT = 11, OUTPUT = 12, FLOAT = 1, INT32 = 6 };
    message name = {.n = 0};
    put_text(&name, NAME, "main_graph");
    sa2_status st = sink_bytes(sink, name.bytes, name.n, err);
    for (int i = 0; i < sa2_tensor_map_count(sink->map) && st == SA2_OK;)
        st = sink_node(sink, &i, err);
    for (int i = 0; i < sa2_tensor_map_count(sink->map) && st == SA2_OK; i++)
        st = sink_initializer(sink, i, err);
    if (st == SA2_OK && sink->model == SA2_ONNX_SPEECH_TOKENIZER) {
        st = sink_value(sink, INPUT, "feats", FLOAT, err);
        if (st == SA2_OK)
            st = sink_value(sink, INPUT, "feats_length", INT32, err);
        if (st == SA2_OK)
            st = sink_value(sink, OUTPUT, "indices", INT32, err);
    } else if (st == SA2_OK) {
        st = sink_value(sink, INPUT, "input", FLOAT, err);
        if (st == SA2_OK)
            st = sink_value(sink, OUTPUT, "output", FLOAT, err);
    }
    return st;
}

static sa2_status write_model(onnx_sink *sink, sa2_partial_file *file, sa2_error *err)
{
    enum { IR_VERSION = 1, PRODUCER = 2, GRAPH = 7, OPSET = 8, OPSET_VERSION = 2 };
    sa2_status st = sink_graph(sink, err);
    if (st == SA2_OK && sink->counted > INT32_MAX)
        st = sa2_fail(err, SA2_ERR_LIMIT, "%s: %llu bytes, a protobuf message has 2 GiB at most",
                      file->path, (unsigned long long)sink->counted);
    if (st != SA2_OK)
        return st;
    message opset = {.n = 0}, model = {.n = 0};
    put_number(&opset, OPSET_VERSION, 17);
    put_number(&model, IR_VERSION, 8);
    put_text(&model, PRODUCER, "sa2");
    put_bytes(&model, OPSET, opset.bytes, opset.n);
    put_head(&model, GRAPH, sink->counted);
    sink->file = file;
    st = sink_bytes(sink, model.bytes, model.n, err);
    return st == SA2_OK ? sink_graph(sink, err) : st;
}

sa2_status sa2_onnx_write(const char *path, sa2_onnx_model model, const sa2_tensor_map *map,
                          sa2_write_progress progress, sa2_error *err)
{
    onnx_sink sink = {.model = model, .map = map, .progress = progress};
    sa2_partial_file file = {0};
    size_t largest = 1;
    sa2_status st = SA2_OK;
    if (model == SA2_ONNX_SPEAKER) {
        sa2_speaker_dims dims;
        sa2_error report = {0}; /* lines are added to it, so it starts empty */
        st = sa2_speaker_dims_find(&dims, map, &report);
        if (st != SA2_OK)
            return sa2_fail(err, st, "%s", report.message);
        memcpy(sink.layers, dims.layers, sizeof sink.layers);
    }
    for (int i = 0; i < sa2_tensor_map_count(map); i++) {
        size_t bytes = sa2_tensor_bytes(&sa2_tensor_map_entry(map, i)->tensor);
        largest = bytes > largest ? bytes : largest;
    }
    sink.values = malloc(largest);
    sink.turned = malloc(largest);
    if (sink.values == NULL || sink.turned == NULL) {
        st = sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for values of %zu bytes", path, largest);
        goto cleanup;
    }
    st = sa2_partial_file_create(&file, path, err);
    if (st == SA2_OK)
        st = write_model(&sink, &file, err);
    if (st == SA2_OK)
        st = sa2_partial_file_finish(&file, err);

cleanup:
    sa2_partial_file_destroy(&file);
    free(sink.turned);
    free(sink.values);
    return st;
}
