#include "loader/onnx_names.h"

#include <stdio.h>
#include <string.h>

/* ---- from the name of a module to the name of its node ---- */

/* One parameter of a kind of module: which op reads it, and as which input. */
typedef struct parameter_use {
    const char *parameter; /* ".weight" */
    const char *op_type;
    int input;
    bool transposed;
} parameter_use;

/* Adds "/" and the module's elements to `node`: a child that is only numbered carries its parent's
 * name as well, "mlp.0" is "/mlp/mlp.0". False when there is no room. */
static bool add_path(char *node, size_t room, const char *module, size_t bytes)
{
    const char *end = module + bytes, *parent = NULL;
    size_t parent_bytes = 0, used = strlen(node);
    while (module < end) {
        const char *dot = memchr(module, '.', (size_t)(end - module));
        size_t n = dot != NULL ? (size_t)(dot - module) : (size_t)(end - module);
        bool numbered = parent != NULL && n > 0 && module[0] >= '0' && module[0] <= '9';
        int added = numbered ? snprintf(node + used, room - used, "/%.*s.%.*s", (int)parent_bytes,
                                        parent, (int)n, module)
                             : snprintf(node + used, room - used, "/%.*s", (int)n, module);
        if (added < 0 || (size_t)added >= room - used)
            return false;
        used += (size_t)added;
        parent = module;
        parent_bytes = n;
        module += dot != NULL ? n + 1 : n;
    }
    return true;
}

static bool ends_with(const char *name, size_t bytes, const char *end)
{
    size_t n = strlen(end);
    return bytes >= n && memcmp(name + bytes - n, end, n) == 0;
}

static bool set_node(sa2_onnx_name *out, const char *before, const char *module, size_t bytes,
                     const parameter_use *use)
{
    snprintf(out->node, sizeof out->node, "%s", before);
    if (!add_path(out->node, sizeof out->node, module, bytes))
        return false;
    size_t used = strlen(out->node);
    int n = snprintf(out->node + used, sizeof out->node - used, "/%s", use->op_type);
    out->op_type = use->op_type;
    out->input = use->input;
    out->transposed = use->transposed;
    return n > 0 && (size_t)n < sizeof out->node - used;
}

/* ---- speech tokenizer ---- */

static const parameter_use conv_weight = {".weight", "Conv", 1, false};
static const parameter_use conv_bias = {".bias", "Conv", 2, false};
static const parameter_use norm_weight = {".weight", "LayerNormalization", 1, false};
static const parameter_use norm_bias = {".bias", "LayerNormalization", 2, false};
static const parameter_use product = {".weight", "MatMul", 1, true};
static const parameter_use added = {".bias", "Add", 0, false};

/* The initializer is <kind>_<number>, in block i number + 52 i; without a kind it keeps its name. */
typedef struct speech_tensor {
    const char *module;
    const parameter_use *use;
    const char *kind;
    int number;
} speech_tensor;

enum { NUMBERS_PER_BLOCK = 52 };

static const speech_tensor speech_block[] = {
    {"attn_ln", &norm_weight, "LayerNormalization", 2224},
    {"attn_ln", &norm_bias, "LayerNormalization", 2225},
    {"attn.query", &product, "MatMul", 2228},
    {"attn.query", &added, "Add", 2227},
    {"attn.key", &product, "MatMul", 2230},
    {"attn.value", &product, "MatMul", 2233},
    {"attn.value", &added, "Add", 2232},
    {"attn.fsmn_block", &conv_weight, NULL, 0},
    {"attn.out", &product, "MatMul", 2267},
    {"attn.out", &added, "Add", 2266},
    {"mlp_ln", &norm_weight, "LayerNormalization", 2268},
    {"mlp_ln", &norm_bias, "LayerNormalization", 2269},
    {"mlp.0", &product, "MatMul", 2272},
    {"mlp.0", &added, "Add", 2271},
    {"mlp.2", &product, "MatMul", 2275},
    {"mlp.2", &added, "Add", 2274},
};

static const speech_tensor speech_other[] = {
    {"encoder.conv1", &conv_weight, "Conv", 2216},
    {"encoder.conv1", &conv_bias, "Conv", 2217},
    {"encoder.conv2", &conv_weight, "Conv", 2218},
    {"encoder.conv2", &conv_bias, "Conv", 2219},
    {"quantizer._codebook.project_down", &product, "MatMul", 2536},
    {"quantizer._codebook.project_down", &added, NULL, 0},
};

static const speech_tensor *find_speech(const speech_tensor *table, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        size_t module = strlen(table[i].module);
        if (strncmp(name, table[i].module, module) == 0 &&
            strcmp(name + module, table[i].use->parameter) == 0)
            return &table[i];
    }
    return NULL;
}

static bool speech_name_of(const char *name, sa2_onnx_name *out)
{
    int block = 0, length = 0;
    const speech_tensor *t = NULL;
    if (sscanf(name, "encoder.blocks.%4d.%n", &block, &length) == 1 && length > 0) {
        t = find_speech(speech_block, sizeof speech_block / sizeof speech_block[0], name + length);
        char before[32];
        snprintf(before, sizeof before, "/blocks.%d", block);
        if (t == NULL || !set_node(out, before, t->module, strlen(t->module), t->use))
            return false;
        if (t->kind == NULL)
            snprintf(out->initializer, sizeof out->initializer, "blocks.%d.%s%s", block, t->module,
                     t->use->parameter);
    } else {
        t = find_speech(speech_other, sizeof speech_other / sizeof speech_other[0], name);
        const char *module = t != NULL ? strrchr(t->module, '.') + 1 : NULL;
        if (t == NULL || !set_node(out, "", module, strlen(module), t->use))
            return false;
        if (t->kind == NULL)
            snprintf(out->initializer, sizeof out->initializer, "quantizer.project_in.bias");
    }
    if (t->kind != NULL)
        snprintf(out->initializer, sizeof out->initializer, "onnx::%s_%d", t->kind,
                 t->number + NUMBERS_PER_BLOCK * block);
    return true;
}

/* ---- speaker model ---- */

static const parameter_use speaker_uses[] = {
    {".batchnorm.weight", "BatchNormalization", 1, false},
    {".batchnorm.bias", "BatchNormalization", 2, false},
    {".batchnorm.running_mean", "BatchNormalization", 3, false},
    {".batchnorm.running_var", "BatchNormalization", 4, false},
    {".weight", "Conv", 1, false},
    {".bias", "Conv", 2, false},
};

/* The convolutions that took a batch norm in, with the number of their weight; the bias is next. */
static const struct {
    const char *module;
    int number;
} folded[] = {
    {"head.conv1", 4423},
    {"head.layer1.0.conv1", 4426},
    {"head.layer1.0.conv2", 4429},
    {"head.layer1.0.shortcut.0", 4432},
    {"head.layer1.1.conv1", 4435},
    {"head.layer1.1.conv2", 4438},
    {"head.layer2.0.conv1", 4441},
    {"head.layer2.0.conv2", 4444},
    {"head.layer2.0.shortcut.0", 4447},
    {"head.layer2.1.conv1", 4450},
    {"head.layer2.1.conv2", 4453},
    {"head.conv2", 4456},
    {"xvector.tdnn.linear", 4459},
};

enum {
    FIRST_DENSE = 4462,    /* number of the first dense layer's linear1 */
    NUMBERS_PER_DENSE = 3, /* to that of the next one, over all blocks */
};

/* The number of a folded convolution, or 0. */
static int folded_number(const char *module, size_t bytes, const int *layers)
{
    char text[128];
    if (bytes >= sizeof text)
        return 0;
    memcpy(text, module, bytes);
    text[bytes] = '\0';
    for (size_t i = 0; i < sizeof folded / sizeof folded[0]; i++)
        if (strcmp(text, folded[i].module) == 0)
            return folded[i].number;
    int before = layers[0] + layers[1] + layers[2];
    if (strcmp(text, "xvector.transit3.linear") == 0)
        return FIRST_DENSE + NUMBERS_PER_DENSE * before;
    int block = 0, layer = 0, length = 0;
    if (sscanf(text, "xvector.block%1d.tdnnd%4d.linear1%n", &block, &layer, &length) != 2 ||
        (size_t)length != bytes || block < 1 || block > 3 || layer < 1)
        return 0;
    before = layer - 1;
    for (int b = 1; b < block; b++)
        before += layers[b - 1];
    return FIRST_DENSE + NUMBERS_PER_DENSE * before;
}

static bool speaker_name_of(const char *name, const int *layers, sa2_onnx_name *out)
{
    size_t bytes = strlen(name);
    if (strncmp(name, "head.", 5) != 0 && strncmp(name, "xvector.", 8) != 0)
        return false;
    for (size_t i = 0; i < sizeof speaker_uses / sizeof speaker_uses[0]; i++) {
        const parameter_use *use = &speaker_uses[i];
        if (!ends_with(name, bytes, use->parameter))
            continue;
        size_t module = bytes - strlen(strrchr(use->parameter, '.'));
        if (!set_node(out, "", name, module, use))
            return false;
        int number = folded_number(name, module, layers);
        int n = number > 0 ? snprintf(out->initializer, sizeof out->initializer, "onnx::Conv_%d",
                                      number + use->input - 1)
                           : snprintf(out->initializer, sizeof out->initializer, "%s", name);
        return n > 0 && (size_t)n < sizeof out->initializer;
    }
    return false;
}

bool sa2_onnx_name_of(sa2_onnx_model model, const char *name, const int *layers, sa2_onnx_name *out)
{
    *out = (sa2_onnx_name){0};
    return model == SA2_ONNX_SPEECH_TOKENIZER ? speech_name_of(name, out)
                                              : speaker_name_of(name, layers, out);
}
