"""The paper's proposal, a learner (PPO): its world, its two ways to act, its training.

Only `environment` and `training` need gymnasium and stable-baselines3 (`pip install 'stageline[learn]'`).
"""
