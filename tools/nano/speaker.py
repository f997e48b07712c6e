"""CAM++: filter-bank features to a vector of 192 numbers that says whose voice it is.

Batch norms right after a convolution are part of it here, as in the release's file (the convolution has a bias in their place),
so that state_dict() is what that file holds.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

SEGMENT = 100


class Named(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class Residual(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, (stride, 1), 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.shortcut = nn.Sequential(nn.Conv2d(channels, channels, 1, (stride, 1))) if stride > 1 else nn.Sequential()

    def forward(self, x):
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


class Head(nn.Module):
    def __init__(self, channels=32):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, channels, 3, 1, 1), nn.Conv2d(channels, channels, 3, (2, 1), 1)
        self.layer1, self.layer2 = (nn.Sequential(Residual(channels, 2), Residual(channels, 1)) for _ in range(2))

    def forward(self, x):
        """[B, 80, T] -> [B, 320, T]"""
        x = self.layer2(self.layer1(F.relu(self.conv1(x[:, None]))))
        return F.relu(self.conv2(x)).flatten(1, 2)


class Gate(nn.Module):
    def __init__(self, bottleneck, growth, inner, dilation):
        super().__init__()
        self.linear_local = nn.Conv1d(bottleneck, growth, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1, self.linear2 = nn.Conv1d(bottleneck, inner, 1), nn.Conv1d(inner, growth, 1)

    def forward(self, x):
        part = F.avg_pool1d(x, SEGMENT, SEGMENT, ceil_mode=True).repeat_interleave(SEGMENT, 2)[..., :x.shape[2]]
        context = x.mean(2, keepdim=True) + part
        return self.linear_local(x) * torch.sigmoid(self.linear2(F.relu(self.linear1(context))))


class Dense(nn.Module):
    def __init__(self, channels, growth, bottleneck, gate, dilation):
        super().__init__()
        self.nonlinear1, self.linear1 = Named(batchnorm=nn.BatchNorm1d(channels)), nn.Conv1d(channels, bottleneck, 1)
        self.cam_layer = Gate(bottleneck, growth, gate, dilation)

    def forward(self, x):
        y = F.relu(self.linear1(F.relu(self.nonlinear1.batchnorm(x))))
        return torch.cat([x, self.cam_layer(y)], 1)


class SpeakerEncoder(nn.Module):
    def __init__(self, growth, bottleneck, initial, gate, layers, dilations):
        super().__init__()
        self.head, trunk, channels = Head(), {}, initial
        trunk["tdnn"] = Named(linear=nn.Conv1d(320, initial, 5, 2, 2))
        for b, (count, dilation) in enumerate(zip(layers, dilations), 1):
            trunk[f"block{b}"] = Named(**{f"tdnnd{j + 1}": Dense(channels + j * growth, growth, bottleneck, gate, dilation) for j in range(count)})
            channels += count * growth
            trunk[f"transit{b}"] = Named(nonlinear=Named(batchnorm=nn.BatchNorm1d(channels)),
                                         linear=nn.Conv1d(channels, channels // 2, 1, bias=b == len(layers)))
            channels //= 2
        trunk["dense"] = Named(linear=nn.Conv1d(2 * channels, 192, 1, bias=False),
                               nonlinear=Named(batchnorm=nn.BatchNorm1d(192, affine=False)))
        self.xvector, self.blocks = Named(**trunk), len(layers)

    def forward(self, features):
        """[B, T, 80] -> [B, 192]"""
        x = F.relu(self.xvector.tdnn.linear(self.head(features.transpose(1, 2))))
        for b in range(1, self.blocks + 1):
            for layer in getattr(self.xvector, f"block{b}").children():
                x = layer(x)
            transit = getattr(self.xvector, f"transit{b}")
            x = transit.linear(F.relu(transit.nonlinear.batchnorm(x)))
        x = F.relu(x)
        pooled = torch.cat([x.mean(2), x.std(2)], 1)[..., None]
        return self.xvector.dense.nonlinear.batchnorm(self.xvector.dense.linear(pooled)[..., 0][..., None])[..., 0]
