"stub"
from ..loss import log_softmax
class LabelSmoothingCrossEntropy:
    def __init__(self, eps=.1, reduction='mean'): self.eps,self.reduction = eps,reduction
    def __call__(self, preds, yb):
        logs = log_softmax(preds.float())
        return -((1-self.eps)*logs.gather(-1, yb[...,None]).squeeze(-1) + self.eps*logs.mean(-1)).mean()
