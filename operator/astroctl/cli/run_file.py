"""The run file that ``astroctl init`` writes."""

TEMPLATE = """\
# A run of astrosage. The same file runs on a laptop (`astroctl submit train -f FILE --follow`)
# and on Kubernetes (`kubectl apply -f FILE`). Relative paths are relative to this file.
apiVersion: astrosage.io/v1alpha1
kind: AstroJob
metadata:
  name: {name}                       # the run's name; also the folder of its run directory
spec:
  model: smollm2-135m                # base model: alias, local folder, or hub id (org/name)
  storage: ./runs                    # or s3://bucket/prefix, gs://…, az://…
  stages:
    # Texts to token shards. Paragraphs that hold one of the bench's questions are removed.
    - name: corpus
      prepare:
        sources:
          - path: data/articles/*.md # .md, .txt, .jsonl (field `text`), each also with .gz
            license: CC-BY-4.0       # recorded in the lineage
        validation: {{fraction: 0.05}} # held out for the validation loss
        pack: {{sequenceLength: 512}}
    # Continued pre-training: learn from every token.
    - name: cpt
      train:
        objective: cpt
        data: corpus
        epochs: 1
        learningRate: 2.0e-5
        globalBatchSize: 8           # sequences a step, over all workers
    # Chats (JSONL with `messages`), rendered with the model's chat template.
    - name: chats
      prepare:
        format: chat
        sources:
          - path: data/chats.jsonl
        pack: {{sequenceLength: 512}}
    # Supervised fine-tuning: learn from the assistant's tokens only, on top of `cpt`.
    - name: sft
      train:
        objective: sft
        model: cpt
        data: chats
        epochs: 1
        learningRate: 2.0e-5
        globalBatchSize: 8
    # Score the result and its base on multiple-choice questions.
    - name: score
      bench:
        model: sft
        baseline: smollm2-135m
        questions:
          - path: data/questions.jsonl # id, question, choices, answer; topic if known
  cluster:
    workers: {workers}
    resourcesPerWorker: {{cpu: 1}}     # gpu: 1 on a GPU machine
"""
